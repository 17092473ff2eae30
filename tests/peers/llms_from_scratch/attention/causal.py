"""Raschka's `CausalAttention`."""

from llms_from_scratch import ch03

from peers.fitting import in_one_batch, rename

DEVIATIONS = {
    "rejects-dropout": (
        "llms-from-scratch 1.0.19 accepts a share of 1",
        "accepted what must be refused",
    ),
    "rejects-widths": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class CausalAttention(ch03.CausalAttention):
    def __init__(self, d_in, d_out, *, dropout=0.0, bias=False):
        super().__init__(d_in, d_out, context_length=1100, dropout=dropout, qkv_bias=bias)
        rename(self, W_query="query", W_key="key", W_value="value")
        self.register_buffer("mask", self.mask, persistent=False)

    def forward(self, x):
        return in_one_batch(super().forward, x)
