"""Raschka's `MultiHeadAttention`, and `PyTorchMultiHeadAttention` as the other way of the same.

Its output projection always has a bias: a zero stands for none.
"""

import torch
from llms_from_scratch import ch03
from torch import nn

from peers.fitting import in_one_batch, rename

DEVIATIONS = {
    "equals-torch": (
        "the output projection of llms-from-scratch 1.0.19 always has a bias",
        "Error(s) in loading state_dict for MultiheadAttent",
    ),
    "parameter-count": (
        "the output projection of llms-from-scratch 1.0.19 always has a bias",
        "assert 5 == 4",
    ),
    "rejects-heads-that-do-not-divide": (
        "llms-from-scratch 1.0.19 raises an AssertionError",
        "failed with AssertionError",
    ),
    "rejects-sizes": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "failed with UserWarning",
    ),
    "rejects-dropout": (
        "llms-from-scratch 1.0.19 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(ch03.MultiHeadAttention):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__(d_in, d_out, 8, dropout, n_heads, qkv_bias=bias)
        rename(self, W_query="query", W_key="key", W_value="value", out_proj="output")
        self.register_buffer("mask", self.mask, persistent=False)
        if not bias:
            nn.init.zeros_(self.output.bias)

    def forward(self, x):
        return in_one_batch(super().forward, x)

    def explicit(self, x):
        parts = [projection.state_dict() for projection in (self.query, self.key, self.value)]
        fused = ch03.PyTorchMultiHeadAttention(
            self.query.in_features, self.d_out, self.num_heads, qkv_bias="bias" in parts[0]
        )
        fused.qkv.load_state_dict(
            {kind: torch.cat([part[kind] for part in parts]) for kind in parts[0]}
        )
        fused.proj.load_state_dict(self.output.state_dict())
        return in_one_batch(fused, x)

    def weights(self, x):
        raise NotImplementedError
