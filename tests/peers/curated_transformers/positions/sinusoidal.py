"""curated-transformers' `SinusoidalPositionalEmbedding`, not normalized."""

import torch
from curated_transformers.layers import SinusoidalPositionalEmbedding

DEVIATIONS = {
    "low-precision-rounds-once": (
        "curated-transformers 2.0.1 returns the wider type",
        "The values for attribute 'dtype' do not match",
    ),
    "rejects-odd-widths": (
        "curated-transformers 2.0.1 says it in other words",
        "failed with ZeroDivisionError",
    ),
    "rejects-negative-positions": (
        "curated-transformers 2.0.1 accepts them",
        "accepted what must be refused",
    ),
}


def sinusoids(time, d_model, *, start=0, dtype=None):
    if dtype not in (None, torch.get_default_dtype()):
        raise NotImplementedError
    table = SinusoidalPositionalEmbedding(width=d_model, max_len=start + time, normalize=False).pe
    return table[start:]


class SinusoidalPositions:
    def __init__(self, d_model):
        self.d_model = d_model

    def __call__(self, x, start=0):
        time = x.shape[-2]
        embed = SinusoidalPositionalEmbedding(
            width=self.d_model, max_len=start + time, normalize=False, device=x.device
        )
        return x + embed(x.new_empty(1, start + time))[start:]
