"""Hugging Face transformers: GPT-2's attention function, and `LlamaAttention` of one head."""

from torch import nn
from transformers.masking_utils import eager_mask
from transformers.models.gpt2.modeling_gpt2 import eager_attention_forward

from peers.transformers.attention.multihead import MultiHeadAttention

DEVIATIONS = {
    "rejects-dropout": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-widths": (
        "transformers 5.23 accepts a width of 0",
        "accepted what must be refused",
    ),
}


def causal_weights(queries, keys):
    time = queries.shape[-2]
    mask = eager_mask(1, time, time, dtype=queries.dtype, device=queries.device)
    _, weights = eager_attention_forward(nn.Module(), queries, keys, keys, mask)
    return weights.view(*queries.shape[:-1], time)


class CausalAttention(MultiHeadAttention):
    def __init__(self, d_in, d_out, *, dropout=0.0, bias=False):
        super().__init__(d_in, d_out, n_heads=1, dropout=dropout, bias=bias)
        self.output = nn.Identity()
