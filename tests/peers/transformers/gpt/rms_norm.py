"""Hugging Face transformers: `LlamaRMSNorm`."""

from transformers.models.llama.modeling_llama import LlamaRMSNorm

DEVIATIONS = {
    "mean-square-of-one": (
        "transformers 5.23 computes in float32 whatever it is given",
        "Tensor-likes are not close",
    ),
    "scale-changes-nothing": (
        "transformers 5.23 computes in float32 whatever it is given",
        "Tensor-likes are not close",
    ),
    "equals-torch": (
        "transformers 5.23 computes in float32 whatever it is given",
        1e-06,
    ),
    "gradients-equal-the-formula": (
        "transformers 5.23 computes in float32 whatever it is given",
        0.0001,
    ),
    "holds-at-real-sizes": (
        "transformers 5.23 computes in float32 whatever it is given",
        5e-06,
    ),
    "rejects-d-model": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


class RMSNorm(LlamaRMSNorm):
    def __init__(self, d_model, *, eps=1e-5):
        super().__init__(d_model, eps)


def rms_normalize(x, eps=1e-5):
    return LlamaRMSNorm(x.shape[-1], eps).to(x.dtype)(x)
