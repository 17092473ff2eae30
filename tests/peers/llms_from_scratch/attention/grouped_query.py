"""Raschka's `GroupedQueryAttention` of Llama 3, with its rotation left out."""

from unittest.mock import patch

import torch
from llms_from_scratch import llama3
from torch.func import functional_call

from peers.fitting import Projections, in_one_batch

DEVIATIONS = {
    "rejects-groups-that-do-not-divide": (
        "llms-from-scratch 1.0.19 raises an AssertionError",
        "failed with AssertionError",
    ),
    "rejects-shape": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class GroupedQueryAttention(Projections):
    def __init__(self, d_in, d_out, *, n_heads, n_kv_heads, dropout=0.0, bias=False):
        if dropout:
            raise NotImplementedError
        peer = llama3.GroupedQueryAttention(d_in, d_out, n_heads, n_kv_heads)
        super().__init__(d_in, d_out, d_kv=d_out // n_heads * n_kv_heads, bias=bias)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's

    def forward(self, x):
        weights = self.lend(W_query="query", W_key="key", W_value="value", out_proj="output")
        future = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool).triu(1)
        with patch.object(llama3, "apply_rope", lambda heads, cos, sin: heads):
            return in_one_batch(
                lambda x: functional_call(*self.peer, weights, (x, future, None, None)), x
            )
