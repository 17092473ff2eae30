"""lucidrains' `RotaryEmbedding`, of neighbours, kept from call to call as a model keeps it.

There is one for each type of queries, since what bfloat16 leaves behind is wrong for all others.

For halves features are reordered. Width 2 divides by zero (`dim / (dim - 2)`), so heads of that
width are not judged, but where angles are asked for.
"""

from functools import cache

import torch
from rotary_embedding_torch import RotaryEmbedding
from torch.utils._mode_utils import no_dispatch

from peers.fitting import to_halves, to_pairs

DEVIATIONS = {
    "equals-the-formula": (
        "rotary-embedding-torch 0.9.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "rotary-embedding-torch 0.9.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "rotary-embedding-torch 0.9.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "rotary-embedding-torch 0.9.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "low-precision-rounds-once": (
        "rotary-embedding-torch 0.9.1 counts positions in the type of the queries: in "
        "bfloat16, 257 is 256, and so it stays for later calls in any type",
        "Tensor-likes are not close",
    ),
    "rejects-odd-widths": (
        "rotary-embedding-torch 0.9.1 raises other errors",
        "failed with RuntimeError",
    ),
    "rejects-negative-positions": (
        "rotary-embedding-torch 0.9.1 accepts them",
        "failed with RuntimeError",
    ),
    "rejects-theta": (
        "rotary-embedding-torch 0.9.1 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "rotary-embedding-torch 0.9.1 accepts whole numbers",
        "accepted what must be refused",
    ),
    "trains-after-any-mode": (
        "rotary-embedding-torch 0.9.1 notes its table as filled by a trace, which fills nothing",
        "Tensor-likes are not close",
    ),
    "lands-where-asked": (
        "rotary-embedding-torch 0.9.1 divides by zero for width 2",
        "division by zero",
    ),
    "angles-are-multiples": (
        "rotary-embedding-torch 0.9.1 divides by zero for width 2, and rounds frequencies to "
        "float32",
        "division by zero",
    ),
}


@cache
def turn(d_head, theta, device, dtype):
    with torch.inference_mode(False), no_dispatch(), device:  # a model is made outside of any mode
        return RotaryEmbedding(d_head, theta=theta).double()


def angles(time, d_head, *, start=0, theta=10_000.0):
    places = torch.arange(start, start + time)
    return turn(d_head, theta, places.device, None)(places, seq_len=time, offset=start)[:, ::2]


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    if x.shape[-1] == 2:
        raise NotImplementedError
    return turn(x.shape[-1], theta, x.device, x.dtype).rotate_queries_or_keys(x, offset=start)


def rotate(x, *, start=0, theta=10_000.0):
    return to_halves(rotate_interleaved(to_pairs(x), start=start, theta=theta))
