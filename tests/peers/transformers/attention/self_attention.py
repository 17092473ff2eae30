"""Hugging Face transformers: GPT-2's attention function, and `LlamaAttention` without a mask."""

from torch import nn
from transformers.models.gpt2.modeling_gpt2 import eager_attention_forward

from peers.transformers.attention.causal import CausalAttention

DEVIATIONS = {
    "rejects-widths": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def attention_weights(queries, keys, *, scale=None):
    heads, others = queries.unsqueeze(-3), keys.unsqueeze(-3)
    _, weights = eager_attention_forward(nn.Module(), heads, others, others, None, scaling=scale)
    return weights.squeeze(-3)


class SelfAttention(CausalAttention):
    def __init__(self, d_in, d_out, *, bias=False):
        super().__init__(d_in, d_out, bias=bias)
        self.is_causal = False
