"""Raschka's rotation of Llama 3, of halves; for neighbours the features are reordered."""

import torch
from llms_from_scratch.llama3 import apply_rope, compute_rope_params

from peers.fitting import in_one_batch, to_halves, to_pairs

DEVIATIONS = {
    "equals-the-formula": (
        "llms-from-scratch 1.0.19 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "llms-from-scratch 1.0.19 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "llms-from-scratch 1.0.19 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "llms-from-scratch 1.0.19 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "rejects-odd-widths": (
        "llms-from-scratch 1.0.19 raises an AssertionError",
        "failed with AssertionError",
    ),
    "rejects-negative-positions": (
        "llms-from-scratch 1.0.19 accepts them",
        "accepted what must be refused",
    ),
    "rejects-theta": (
        "llms-from-scratch 1.0.19 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "llms-from-scratch 1.0.19 accepts whole numbers",
        "accepted what must be refused",
    ),
}


def rotate(x, *, start=0, theta=10_000.0):
    time, d_head = x.shape[-2:]
    with x.device:
        cos, sin = compute_rope_params(d_head, theta, start + time, dtype=torch.float64)
    return in_one_batch(lambda x: apply_rope(x[None], cos[start:], sin[start:])[0], x)


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    return to_pairs(rotate(to_halves(x), start=start, theta=theta))
