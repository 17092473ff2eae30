"""PyTorch: `F.silu`; the library has no SwiGLU."""

from torch.nn import functional as F

silu = F.silu
