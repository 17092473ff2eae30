"""labml's `get_positional_encoding`."""

import torch
from labml_nn.transformers.positional_encoding import PositionalEncoding, get_positional_encoding

DEVIATIONS = {
    "equals-the-formula": (
        "labml-nn 0.5.1 computes in float32",
        "Tensor-likes are not close",
    ),
    "shift-is-rotation": (
        "labml-nn 0.5.1 computes in float32",
        "Tensor-likes are not close",
    ),
    "similarity-is-by-distance": (
        "labml-nn 0.5.1 computes in float32",
        "Tensor-likes are not close",
    ),
    "low-precision-rounds-once": (
        "labml-nn 0.5.1 returns the wider type",
        "The values for attribute 'dtype' do not match",
    ),
    "rejects-odd-widths": (
        "labml-nn 0.5.1 raises other errors",
        "failed with ZeroDivisionError",
    ),
    "rejects-negative-positions": (
        "labml-nn 0.5.1 raises other errors",
        "failed with RuntimeError",
    ),
}


def sinusoids(time, d_model, *, start=0, dtype=None):
    if dtype not in (None, torch.get_default_dtype()):
        raise NotImplementedError
    return get_positional_encoding(d_model, start + time)[start:, 0]


class SinusoidalPositions:
    def __init__(self, d_model):
        self.d_model = d_model

    def __call__(self, x, start=0):
        before = x.new_zeros(*x.shape[:-2], start, x.shape[-1])  # its texts begin at 0
        time_first = (
            torch.cat([before, x], dim=-2)
            .movedim(-2, 0)
            .reshape(start + x.shape[-2], -1, x.shape[-1])
        )
        with x.device:
            adds = PositionalEncoding(self.d_model, 0.0, max_len=len(time_first))
        return adds(time_first)[start:].movedim(0, -2).reshape(x.shape)
