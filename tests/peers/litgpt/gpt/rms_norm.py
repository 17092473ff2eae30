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
        "Tensor-likes are not close",
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
