"""labml's `TransformerLayer`, which reads time first, with its attention and its feed-forward.

Norms, values and outputs always have a bias: examples without are not judged.
"""

from labml_nn.transformers.feed_forward import FeedForward
from labml_nn.transformers.mha import MultiHeadAttention
from labml_nn.transformers.models import TransformerLayer
from labml_nn.transformers.utils import subsequent_mask
from torch import nn

from peers.fitting import in_one_batch, rename

KINDS = {
    "n_kv_heads": None,
    "window": None,
    "norm": "layer",
    "norm_eps": 1e-5,
    "feed_forward": "gelu",
    "bias": True,
}


def no_cache():
    raise NotImplementedError


class Block(TransformerLayer):
    def __init__(self, config):
        if any(getattr(config, name) != kind for name, kind in KINDS.items()):
            raise NotImplementedError
        attention = MultiHeadAttention(config.n_heads, config.d_model, config.dropout)
        think = FeedForward(config.d_model, config.feed_forward_width, 0.0, nn.GELU("tanh"))
        super().__init__(
            d_model=config.d_model,
            self_attn=attention,
            feed_forward=think,
            dropout_prob=config.dropout,
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
