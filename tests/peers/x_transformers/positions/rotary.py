"""x-transformers' `RotaryEmbedding`, of neighbours; for halves features are reordered.

Width 2 divides by zero (`dim / (dim - 2)`), so heads of that width are not judged.
"""

import torch

from peers.fitting import to_halves, to_pairs
from peers.x_transformers._quiet import library

DEVIATIONS = {
    "equals-the-formula": (
        "x-transformers 2.31.10 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "x-transformers 2.31.10 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "x-transformers 2.31.10 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "x-transformers 2.31.10 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "rejects-odd-widths": (
        "x-transformers 2.31.10 raises other errors",
        "failed with RuntimeError",
    ),
    "rejects-negative-positions": (
        "x-transformers 2.31.10 accepts them",
        "accepted what must be refused",
    ),
    "rejects-theta": (
        "x-transformers 2.31.10 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "x-transformers 2.31.10 accepts whole numbers",
        "accepted what must be refused",
    ),
}


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    if x.shape[-1] == 2 or not x.numel():
        raise NotImplementedError
    with x.device:
        turn = library.RotaryEmbedding(x.shape[-1], base=theta).double()
        freqs, _ = turn(torch.arange(start, start + x.shape[-2]))
    flat = x.reshape(x.shape[:-2].numel(), *x.shape[-2:])
    return library.apply_rotary_pos_emb(flat, freqs).view(x.shape)


def rotate(x, *, start=0, theta=10_000.0):
    return to_halves(rotate_interleaved(to_pairs(x), start=start, theta=theta))
