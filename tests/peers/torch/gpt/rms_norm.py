"""PyTorch: `F.rms_norm` and `nn.RMSNorm`."""

from functools import partial

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "rejects-d-model": (
        "PyTorch 2.13 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "PyTorch 2.13 accepts any eps",
        "accepted what must be refused",
    ),
}

RMSNorm = partial(nn.RMSNorm, eps=1e-5)  # its own default is the machine epsilon


def rms_normalize(x, eps=1e-5):
    return F.rms_norm(x, x.shape[-1:], eps=eps)
