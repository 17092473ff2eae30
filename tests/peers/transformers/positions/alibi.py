"""Hugging Face transformers: `build_alibi_tensor`, the bias of BLOOM."""

import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

DEVIATIONS = {
    "slopes-are-geometric": (
        "transformers 5.23 computes slopes in float32",
        5e-08,
    ),
    "linear-in-distance": (
        "transformers 5.23 counts from the first key: the same weights",
        1000.0,
    ),
    "depends-on-distance": (
        "transformers 5.23 counts from the first key: the same weights",
        0.5,
    ),
    "rejects-no-heads": (
        "transformers 5.23 takes the logarithm of 0",
        "the message does not mention",
    ),
    "rejects-more-queries-than-keys": (
        "transformers 5.23 never hears of queries",
        "accepted what must be refused",
    ),
}


def alibi(n_heads, query_time, key_time, *, dtype=None, device=None):
    text = torch.ones(1, key_time, dtype=torch.long, device=device)
    bias = build_alibi_tensor(text, n_heads, dtype or torch.get_default_dtype())
    return bias.expand(-1, query_time, -1)


def slopes(n_heads, **asked):
    return alibi(n_heads, 1, 2, **asked)[:, 0, 1]
