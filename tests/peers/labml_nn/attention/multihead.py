"""labml's `MultiHeadAttention`, which reads time first.

Values and the output always have a bias: a zero stands for none.
"""

from labml_nn.transformers.mha import MultiHeadAttention as Labml
from labml_nn.transformers.utils import subsequent_mask
from torch import nn
from torch.func import functional_call

from peers.fitting import Projections, in_one_batch

DEVIATIONS = {
    "rejects-heads-that-do-not-divide": (
        "labml-nn 0.5.1 rounds the width of a head down, and divides by it",
        "failed with ZeroDivisionError",
    ),
    "rejects-sizes": (
        "labml-nn 0.5.1 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "labml-nn 0.5.1 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(Projections):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        peer = Labml(n_heads, d_out, dropout, bias)
        super().__init__(d_in, d_out, bias=bias)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's
        if not bias:
            nn.init.zeros_(peer.value.linear.bias)
            nn.init.zeros_(peer.output.bias)

    def forward(self, x):
        (peer,) = self.peer
        peer.train(self.training).to(x.dtype)
        names = {f"{name}.linear": name for name in ("query", "key", "value")}
        weights = self.lend(**names, output="output")

        def read(x):
            texts = dict.fromkeys(("query", "key", "value"), x.transpose(0, 1))
            mask = subsequent_mask(x.shape[1])
            return functional_call(peer, weights, (), {**texts, "mask": mask}).transpose(0, 1)

        return in_one_batch(read, x)

    def weights(self, x):
        self(x)
        weights = self.peer[0].attn.permute(2, 3, 0, 1)  # query, key, text, head before
        return weights.view(*x.shape[:-2], *weights.shape[1:])
