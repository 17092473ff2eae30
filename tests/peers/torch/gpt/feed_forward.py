"""PyTorch: `F.gelu`, and `nn.GELU` between two `nn.Linear`."""

from functools import partial

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "rejects-widths": (
        "PyTorch 2.13 accepts a width of 0, and only warns",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "PyTorch 2.13 accepts a dropout of 1",
        "accepted what must be refused",
    ),
}

gelu = F.gelu
gelu_tanh = partial(F.gelu, approximate="tanh")


class FeedForward(nn.Sequential):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=True):
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.gelu = nn.GELU(approximate="tanh")
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.dropout = nn.Dropout(dropout)
