"""LitGPT's `CausalSelfAttention`, told to rotate nothing, with weights of its one projection."""

import torch
from litgpt.config import Config
from litgpt.model import CausalSelfAttention
from torch.func import functional_call

from peers.fitting import Projections, in_one_batch

DEVIATIONS = {
    "rejects-groups-that-do-not-divide": (
        "LitGPT 0.5.13 raises an AssertionError",
        "failed with AssertionError",
    ),
    "rejects-shape": (
        "LitGPT 0.5.13 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class GroupedQueryAttention(Projections):
    def __init__(self, d_in, d_out, *, n_heads, n_kv_heads, dropout=0.0, bias=False):
        if dropout:
            raise NotImplementedError
        config = Config(
            n_embd=d_out,
            n_head=n_heads,
            n_query_groups=n_kv_heads,
            rotary_percentage=0,
            bias=bias,
        )
        peer = CausalSelfAttention(config, block_idx=0)
        super().__init__(d_in, d_out, d_kv=d_out // n_heads * n_kv_heads, bias=bias)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's

    def forward(self, x):
        weights = self.lend(qkv="query+key+value", proj="output")
        angles = torch.ones(1, x.shape[-2], 0)
        return in_one_batch(lambda x: functional_call(*self.peer, weights, (x, angles, angles)), x)
