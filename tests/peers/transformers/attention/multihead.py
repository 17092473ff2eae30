"""Hugging Face transformers: `LlamaAttention` without rotation, or GPT-2's function inside it."""

from transformers import AttentionInterface
from transformers.models.gpt2.modeling_gpt2 import eager_attention_forward

from peers.transformers.attention.grouped_query import GroupedQueryAttention

DEVIATIONS = {
    "formula-never-drops": (
        "transformers 5.23 drops in its eager form too",
        2.0,
    ),
    "rejects-heads-that-do-not-divide": (
        "transformers 5.23 says hidden size and attention heads",
        "failed with StrictDataclassClassValidationError",
    ),
    "rejects-sizes": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}

AttentionInterface.register("gpt2", eager_attention_forward)


class MultiHeadAttention(GroupedQueryAttention):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__(
            d_in, d_out, n_heads=n_heads, n_kv_heads=n_heads, dropout=dropout, bias=bias
        )

    def explicit(self, x):
        return self.attend(x, "gpt2")[0]

    def weights(self, x):
        return self.attend(x, "gpt2")[1].view(*x.shape[:-2], -1, *2 * x.shape[-2:-1])
