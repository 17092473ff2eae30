"""curated-transformers' `RotaryEmbeddings`, of halves; for neighbours features are reordered.

Texts of no tokens are not judged.
"""

import torch
from curated_transformers.layers import RotaryEmbeddings

from peers.fitting import in_one_batch, to_halves, to_pairs

DEVIATIONS = {
    "equals-the-formula": (
        "curated-transformers 2.0.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "curated-transformers 2.0.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "curated-transformers 2.0.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "curated-transformers 2.0.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "score-is-by-distance": (
        "curated-transformers 2.0.1 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "turns-add-up": (
        "curated-transformers 2.0.1 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "low-precision-rounds-once": (
        "the tables of curated-transformers 2.0.1 are float32, and so is what it returns",
        "assert torch.float32 == torch.bfloat16",
    ),
    "trains-after-any-mode": (
        "curated-transformers 2.0.1 makes its tables of positions on the default device",
        "the call before is in the way: aten._local_scalar_",
    ),
    "rejects-odd-widths": (
        "curated-transformers 2.0.1 says it in other words",
        "failed with RuntimeError",
    ),
    "rejects-negative-positions": (
        "curated-transformers 2.0.1 accepts them",
        "accepted what must be refused",
    ),
    "rejects-theta": (
        "curated-transformers 2.0.1 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "curated-transformers 2.0.1 accepts whole numbers",
        "accepted what must be refused",
    ),
}


def rotate(x, *, start=0, theta=10_000.0):
    if not x.numel():
        raise NotImplementedError
    with x.device:
        turn = RotaryEmbeddings(x.shape[-1], base=theta)
        places = torch.arange(start, start + x.shape[-2])

    def read(x):
        return turn(x[:, None], positions=places.repeat(len(x), 1))[:, 0]

    return in_one_batch(read, x)


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    return to_pairs(rotate(to_halves(x), start=start, theta=theta))
