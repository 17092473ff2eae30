"""Raschka's `LayerNorm`, which always has a bias."""

import warnings

from llms_from_scratch import ch04

from peers.fitting import rename

DEVIATIONS = {
    "parameter-count": (
        "llms-from-scratch 1.0.19 always has a bias",
        "assert 2 == (1 * 1)",
    ),
    "rejects-d-model": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "the epsilon of llms-from-scratch 1.0.19 is no argument",
        "accepted what must be refused",
    ),
}


class LayerNorm(ch04.LayerNorm):
    def __init__(self, d_model, *, eps=1e-5, bias=True):
        super().__init__(d_model)
        self.eps = eps
        rename(self, scale="weight", shift="bias")

    def forward(self, x):
        with warnings.catch_warnings(action="ignore"):  # torch warns of batches without a text
            return super().forward(x)


def normalize(x, eps=1e-5):
    return LayerNorm(x.shape[-1], eps=eps).to(x.dtype)(x)
