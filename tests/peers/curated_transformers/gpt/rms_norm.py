"""curated-transformers' `RMSNorm`."""

from curated_transformers import layers

DEVIATIONS = {
    "mean-square-of-one": (
        "curated-transformers 2.0.1 computes in float32",
        "Tensor-likes are not close",
    ),
    "scale-changes-nothing": (
        "curated-transformers 2.0.1 computes in float32",
        "Tensor-likes are not close",
    ),
    "equals-torch": (
        "curated-transformers 2.0.1 computes in float32",
        1e-06,
    ),
    "gradients-equal-the-formula": (
        "curated-transformers 2.0.1 computes in float32",
        0.0001,
    ),
    "holds-at-real-sizes": (
        "curated-transformers 2.0.1 computes in float32",
        5e-06,
    ),
    "rejects-d-model": (
        "curated-transformers 2.0.1 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "curated-transformers 2.0.1 accepts any",
        "accepted what must be refused",
    ),
}


class RMSNorm(layers.RMSNorm):
    def __init__(self, d_model, *, eps=1e-5):
        super().__init__(d_model, eps=eps)


def rms_normalize(x, eps=1e-5):
    return RMSNorm(x.shape[-1], eps=eps).to(x)(x)
