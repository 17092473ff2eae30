"""Raschka's `SelfAttention_v2`, which reads one text at a time: a batch is read text by text."""

import torch
from llms_from_scratch import ch03

from peers.fitting import in_one_batch, rename

DEVIATIONS = {
    "rejects-widths": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class SelfAttention(ch03.SelfAttention_v2):
    def __init__(self, d_in, d_out, *, bias=False):
        super().__init__(d_in, d_out, bias)
        rename(self, W_query="query", W_key="key", W_value="value")

    def forward(self, x):
        read = super().forward
        return in_one_batch(lambda texts: torch.stack([read(text) for text in texts]), x)
