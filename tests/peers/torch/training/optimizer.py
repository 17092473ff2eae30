"""PyTorch: `torch.optim.AdamW` and `nn.utils.clip_grad_norm_`."""

import torch
from torch import nn

DEVIATIONS = {
    "rejects-hyperparameters": (
        "the messages of PyTorch 2.13 say learning rate, not lr",
        "the message does not mention",
    ),
    "clip-rejects-max-norm": (
        "PyTorch 2.13 accepts it, and turns the gradients around",
        "accepted what must be refused",
    ),
    "clip-rejects-missing-gradients": (
        "PyTorch 2.13 returns a norm of 0",
        "accepted what must be refused",
    ),
}

AdamW = torch.optim.AdamW
clip = nn.utils.clip_grad_norm_
