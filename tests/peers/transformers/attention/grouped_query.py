"""Hugging Face transformers: `LlamaAttention`, without its rotation."""

from hypothesis import assume
from torch import nn
from transformers import LlamaConfig
from transformers.masking_utils import eager_mask
from transformers.models.llama.modeling_llama import LlamaAttention, repeat_kv

DEVIATIONS = {
    "formula-never-drops": (
        "transformers 5.23 drops in its eager form too",
        20.0,
    ),
    "rejects-groups-that-do-not-divide": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-shape": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def repeat_heads(x, n_repeats):
    return repeat_kv(x, n_repeats) if x.ndim == 4 else repeat_kv(x[None], n_repeats)[0]


class GroupedQueryAttention(LlamaAttention):
    def __init__(self, d_in, d_out, *, n_heads, n_kv_heads, dropout=0.0, bias=False):
        config = LlamaConfig(
            hidden_size=d_out, num_attention_heads=n_heads, num_key_value_heads=n_kv_heads,
            attention_bias=bias, attention_dropout=dropout, attn_implementation="sdpa",
            rope_parameters={  # never used, and a rotation of all would want even heads
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5,
            },
        )  # fmt: skip
        super().__init__(config, layer_idx=0)
        names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
        for ours, theirs in names.items():
            setattr(self, ours, self._modules.pop(theirs))
        for read in [self.query, self.key, self.value]:  # Llama's are as wide as its output
            read.weight = nn.Parameter(read.weight.new_empty(len(read.weight), d_in))
            nn.init.normal_(read.weight, std=d_in**-0.5)

    q_proj = property(lambda self: self.query)
    k_proj = property(lambda self: self.key)
    v_proj = property(lambda self: self.value)
    o_proj = property(lambda self: self.output)

    def forward(self, x):
        return self.attend(x, "sdpa")[0]

    def explicit(self, x):
        return self.attend(x, "eager")[0]

    def project(self, x):
        raise NotImplementedError  # LlamaAttention does not hand out its heads

    def attend(self, x, implementation):
        assume(x.numel())  # the library takes no empty batch
        self.config._attn_implementation = implementation
        time = x.shape[-2]
        unturned = x.new_ones(1, time, self.head_dim), x.new_zeros(1, time, self.head_dim)
        mask = None
        if implementation != "sdpa":
            mask = eager_mask(1, time, time, dtype=x.dtype, device=x.device)
        y, weights = super().forward(x.reshape(-1, *x.shape[-2:]), unturned, mask)
        return y.view(*x.shape[:-1], -1), weights
