"""Raschka's `MultiHeadAttention`, and `PyTorchMultiHeadAttention` as the other way of the same.

Its output projection always has a bias: examples without are not judged.
"""

import torch
from llms_from_scratch import ch03
from torch.func import functional_call

from peers.fitting import in_one_batch, rename

DEVIATIONS = {
    "rejects-heads-that-do-not-divide": (
        "llms-from-scratch 1.0.19 raises an AssertionError",
        "failed with AssertionError",
    ),
    "rejects-sizes": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "llms-from-scratch 1.0.19 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(ch03.MultiHeadAttention):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__(d_in, d_out, 1100, dropout, n_heads, qkv_bias=bias)
        if not bias:
            raise NotImplementedError
        rename(self, W_query="query", W_key="key", W_value="value", out_proj="output")
        self.register_buffer("mask", self.mask, persistent=False)

    def forward(self, x):
        return in_one_batch(super().forward, x)

    def explicit(self, x):
        parts = self.query, self.key, self.value
        fused = ch03.PyTorchMultiHeadAttention(
            self.query.in_features, self.d_out, self.num_heads, qkv_bias=True
        )
        weights = {f"proj.{kind}": part for kind, part in self.output.named_parameters()}
        for kind in ("weight", "bias"):
            weights[f"qkv.{kind}"] = torch.cat([getattr(part, kind) for part in parts])
        return in_one_batch(lambda x: functional_call(fused, weights, (x,)), x)

    def weights(self, x):
        raise NotImplementedError
