"""labml's `RotaryPositionalEmbeddings`, of halves; for neighbours features are reordered.

Its texts begin at position 0, so others get zeros before them.
"""

import torch
from labml_nn.transformers.rope import RotaryPositionalEmbeddings

from peers.fitting import in_one_batch, to_halves, to_pairs

DEVIATIONS = {
    "equals-the-formula": (
        "labml-nn 0.5.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "labml-nn 0.5.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "labml-nn 0.5.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "labml-nn 0.5.1 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "score-is-by-distance": (
        "labml-nn 0.5.1 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "turns-add-up": (
        "labml-nn 0.5.1 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "low-precision-rounds-once": (
        "labml-nn 0.5.1 returns float32",
        "assert torch.float32 == torch.bfloat16",
    ),
    "trains-after-any-mode": (
        "labml-nn 0.5.1 makes its frequencies on the default device",
        "the call before is in the way: Cannot copy out of",
    ),
    "rejects-odd-widths": (
        "labml-nn 0.5.1 accepts them",
        "accepted what must be refused",
    ),
    "rejects-negative-positions": (
        "labml-nn 0.5.1 accepts them",
        "failed with RuntimeError",
    ),
    "rejects-theta": (
        "labml-nn 0.5.1 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "labml-nn 0.5.1 accepts whole numbers",
        "accepted what must be refused",
    ),
}


def rotate(x, *, start=0, theta=10_000.0):
    turn = RotaryPositionalEmbeddings(x.shape[-1], theta)

    def read(x):
        before = x.new_zeros(len(x), start, x.shape[-1])
        time_first = torch.cat([before, x], dim=1).transpose(0, 1)
        return turn(time_first[:, :, None])[start:, :, 0].transpose(0, 1)

    return in_one_batch(read, x)


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    return to_pairs(rotate(to_halves(x), start=start, theta=theta))
