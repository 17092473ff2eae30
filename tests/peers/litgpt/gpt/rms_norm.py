"""LitGPT's `RMSNorm`."""

from litgpt import model

DEVIATIONS = {
    "mean-square-of-one": (
        "LitGPT 0.5.13 computes in float32",
        "Tensor-likes are not close",
    ),
    "scale-changes-nothing": (
        "LitGPT 0.5.13 computes in float32",
        "Tensor-likes are not close",
    ),
    "equals-torch": (
        "LitGPT 0.5.13 computes in float32",
        1e-06,
    ),
    "gradients-equal-the-formula": (
        "LitGPT 0.5.13 computes in float32",
        0.0001,
    ),
    "holds-at-real-sizes": (
        "LitGPT 0.5.13 computes in float32",
        5e-06,
    ),
    "rejects-d-model": (
        "LitGPT 0.5.13 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "LitGPT 0.5.13 accepts any",
        "accepted what must be refused",
    ),
}


class RMSNorm(model.RMSNorm):
    def __init__(self, d_model, *, eps=1e-5):
        super().__init__(d_model, eps=eps)


def rms_normalize(x, eps=1e-5):
    return RMSNorm(x.shape[-1], eps=eps)(x)
