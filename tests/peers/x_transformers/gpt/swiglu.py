"""x-transformers' gated `FeedForward`, with weights of its one projection.

Its gate always has a bias: a zero stands for none.
"""

import torch
from torch import nn
from torch.func import functional_call

from peers.x_transformers._quiet import library

DEVIATIONS = {
    "rejects-widths": (
        "x-transformers 2.31.10 takes d_ff as a multiple of d_model",
        "failed with ZeroDivisionError",
    ),
    "rejects-dropout": (
        "x-transformers 2.31.10 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class SwiGLU(nn.Module):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=False):
        super().__init__()
        peer = library.FeedForward(
            d_model,
            mult=d_ff / d_model,
            glu=True,
            swish=True,
            sublayer_dropout=dropout,
            no_bias=not bias,
        )
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        if not bias:
            nn.init.zeros_(peer.ff[0].proj.bias)

    def forward(self, x):
        (peer,) = self.peer
        place = next(i for i, part in enumerate(peer.ff) if isinstance(part, nn.Linear))
        weights = {}
        for kind in self.down.state_dict():
            both = [getattr(self.up, kind), getattr(self.gate, kind)]
            weights[f"ff.0.proj.{kind}"] = torch.cat(both)
            weights[f"ff.{place}.{kind}"] = getattr(self.down, kind)
        return functional_call(peer.train(self.training).to(x.dtype), weights, (x,))
