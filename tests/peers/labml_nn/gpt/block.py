"""labml's `TransformerLayer`, which reads time first, with its attention and its feed-forward.

Norms, values and outputs always have a bias: examples without are not judged.
"""

from labml_nn.transformers.feed_forward import FeedForward
from labml_nn.transformers.mha import MultiHeadAttention
from labml_nn.transformers.models import TransformerLayer
from labml_nn.transformers.utils import subsequent_mask
from torch import nn

from peers.fitting import in_one_batch, rename

DEVIATIONS = {
    "rejects-shape": (
        "labml-nn 0.5.1 accepts a share of 1",
        "accepted what must be refused",
    ),
}


def no_cache():
    raise NotImplementedError


class Block(TransformerLayer):
    def __init__(
        self, d_model, *, n_heads, d_ff, dropout=0.0, bias=True, n_kv_heads=None, window=None,
        norm="layer", norm_eps=1e-5, feed_forward="gelu",
    ):  # fmt: skip
        if (n_kv_heads, window, norm, feed_forward) != (None, None, "layer", "gelu"):
            raise NotImplementedError
        if norm_eps != 1e-5:
            raise NotImplementedError
        if not bias:
            raise NotImplementedError
        attention = MultiHeadAttention(n_heads, d_model, dropout)
        think = FeedForward(d_model, d_ff, 0.0, nn.GELU("tanh"))
        super().__init__(
            d_model=d_model, self_attn=attention, feed_forward=think, dropout_prob=dropout
        )
        attention.new_cache = no_cache
        rename(self, self_attn="attention", norm_self_attn="attention_norm")
        rename(self, norm_ff="feed_forward_norm")
        rename(think, layer1="up", layer2="down")
        for projection in (attention.query, attention.key, attention.value):
            vars(projection).update(projection.linear.named_parameters())

    def forward(self, x, **positions):
        if positions:
            raise NotImplementedError

        def read(x):
            layer = super(Block, self).forward
            return layer(x=x.transpose(0, 1), mask=subsequent_mask(x.shape[1])).transpose(0, 1)

        return in_one_batch(read, x)
