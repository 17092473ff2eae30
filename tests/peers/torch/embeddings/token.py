"""PyTorch: `nn.Embedding` and `F.embedding`."""

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "starts-small": (
        "PyTorch 2.13 draws with a standard deviation of 1",
        "Scalars are not close",
    ),
    "rejects-ids-outside": (
        "PyTorch 2.13 raises an IndexError that names no id",
        "failed with IndexError",
    ),
    "rejects-other-types": (
        "PyTorch 2.13 raises a RuntimeError",
        "failed with RuntimeError",
    ),
    "rejects-empty-tables": (
        "PyTorch 2.13 accepts a table of no rows",
        "accepted what must be refused",
    ),
}

embed = F.embedding
TokenEmbedding = nn.Embedding
