"""Hugging Face transformers: `LlamaMLP` and its activation."""

from transformers import LlamaConfig
from transformers.activations import SiLUActivation
from transformers.models.llama.modeling_llama import LlamaMLP

DEVIATIONS = {
    "rejects-widths": (
        "transformers 5.23 accepts it, and PyTorch warns",
        "accepted what must be refused",
    ),
}

silu = SiLUActivation()


class SwiGLU(LlamaMLP):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=False):
        if dropout:
            raise NotImplementedError  # LlamaMLP has no dropout
        config = LlamaConfig(
            hidden_size=d_model, intermediate_size=d_ff, mlp_bias=bias,
            num_attention_heads=1, head_dim=2,
        )  # fmt: skip
        super().__init__(config)

    gate = property(lambda self: self.gate_proj)
    up = property(lambda self: self.up_proj)
    down = property(lambda self: self.down_proj)
