"""PyTorch: `nn.Embedding` and `F.embedding`."""

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "starts-small": "PyTorch 2.13 draws with a standard deviation of 1",
    "rejects-ids-outside": "PyTorch 2.13 raises an IndexError that names no id",
    "rejects-other-types": "PyTorch 2.13 raises a RuntimeError",
    "rejects-empty-tables": "PyTorch 2.13 accepts a table of no rows",
}

embed = F.embedding
TokenEmbedding = nn.Embedding
