"""PyTorch: `torch.optim.Muon`, with steps as long as AdamW's."""

from functools import partial

import torch
from torch.optim import _muon

DEVIATIONS = {
    "acts-on-singular-values": (
        "PyTorch 2.13 rounds to bfloat16",
        "Tensor-likes are not close",
    ),
    "singular-values-near-one": (
        "PyTorch 2.13 takes no stack of matrices",
        "Input tensor gradient must be a 2D matrix",
    ),
    "turns-along": (
        "PyTorch 2.13 rounds to bfloat16",
        "Tensor-likes are not close",
    ),
    "scale-changes-nothing": (
        "PyTorch 2.13 takes no stack of matrices",
        "Input tensor gradient must be a 2D matrix",
    ),
    "each-matrix-alone": (
        "PyTorch 2.13 takes no stack of matrices",
        "Input tensor gradient must be a 2D matrix",
    ),
    "rejects-hyperparameters": (
        "the messages of PyTorch 2.13 say learning rate, not lr",
        "the message does not mention",
    ),
    "rejects-what-is-no-matrix": (
        "the message of PyTorch 2.13 names neither params nor AdamW",
        "the message does not mention",
    ),
    "rejects-steps": (
        "PyTorch 2.13 accepts 0 steps",
        "accepted what must be refused",
    ),
}

Muon = partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")


def orthogonalize(matrix, steps=5):
    coefficients = _muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C
    moved = _muon._zeropower_via_newtonschulz(matrix, coefficients, steps, _muon.EPS)
    return moved.to(matrix)
