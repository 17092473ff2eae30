"""PyTorch: `F.cross_entropy`, and `F.linear_cross_entropy` of vectors and a head."""

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "half-precision-is-lifted": (
        "PyTorch 2.13 returns bfloat16 for bfloat16",
        "torch.float32",
    ),
    "half-chunks-round-logits": (
        "PyTorch 2.13 returns bfloat16 for bfloat16",
        "torch.float32",
    ),
    "rejects-nothing-counted": (
        "PyTorch 2.13 returns NaN",
        "accepted what must be refused",
    ),
    "rejects-unknown-targets": (
        "PyTorch 2.13 raises an IndexError",
        "failed with IndexError",
    ),
}


def cross_entropy(logits, targets, *, ignore=-100):
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=ignore)


def chunked_cross_entropy(x, head, targets, *, chunk=1024, ignore=-100):
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None)
    vectors, ids = x.flatten(0, -2), targets.flatten()
    return F.linear_cross_entropy(vectors, head, ids, ignore_index=ignore, options=options)
