"""x-transformers' `RMSNorm`, which knows no epsilon."""

from peers.fitting import rename
from peers.x_transformers._quiet import library

DEVIATIONS = {
    "mean-square-of-one": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        0.002,
    ),
    "centred-is-layer-norm": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        0.0005,
    ),
    "equals-torch": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        2000000000000.0,
    ),
    "equals-llama": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        0.1,
    ),
    "half-is-full-rounded": (
        "x-transformers 2.31.10 rounds each step to 16 bits, and makes NaN of float16 zeros: "
        "its 1e-12 is 0 there",
        "where rounding explains",
    ),
    "eps-is-llamas": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        2.0,
    ),
    "gradients-equal-the-formula": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        1000000000000.0,
    ),
    "holds-at-real-sizes": (
        "x-transformers 2.31.10 divides by the length alone, without an epsilon",
        0.0001,
    ),
    "rejects-d-model": (
        "x-transformers 2.31.10 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "x-transformers 2.31.10 has no epsilon",
        "accepted what must be refused",
    ),
}


class RMSNorm(library.RMSNorm):
    def __init__(self, d_model, *, eps=1e-5):
        super().__init__(d_model)
        rename(self, g="weight")


def rms_normalize(x, eps=1e-5):
    return library.SimpleRMSNorm(x.shape[-1])(x)
