"""Hugging Face transformers: `create_sinusoidal_positions`, the table of GPT-J."""

from functools import lru_cache

from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions

DEVIATIONS = {
    "rejects-odd-widths": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


@lru_cache
def table(d_model):
    # All sines, then all cosines: ours take turns.
    return create_sinusoidal_positions(101_010, d_model).unflatten(-1, (2, -1)).mT.flatten(-2)


def sinusoids(time, d_model, *, start=0, dtype=None):
    return table(d_model)[start : start + time].to(dtype)
