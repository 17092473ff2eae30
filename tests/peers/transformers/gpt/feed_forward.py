"""Hugging Face transformers: `NewGELUActivation` and `GPT2MLP`."""

import torch
from torch import nn
from transformers import Conv1D, GPT2Config
from transformers.activations import GELUActivation, NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

DEVIATIONS = {
    "rejects-widths": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}

gelu = GELUActivation(use_gelu_python=True)
gelu_tanh = NewGELUActivation()


class FeedForward(GPT2MLP):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=True):
        super().__init__(d_ff, GPT2Config(n_embd=d_model, n_head=1, resid_pdrop=dropout))
        if not bias:
            remove_biases(self)

    up = property(lambda self: self.c_fc)
    down = property(lambda self: self.c_proj)


def remove_biases(module):
    """GPT-2 has no switch for them: zeros that are no parameters take their place."""
    for part in module.modules():
        if isinstance(part, Conv1D):
            zeros = torch.zeros_like(part.bias)
            del part.bias
            part.register_buffer("bias", zeros, persistent=False)
        elif isinstance(part, nn.LayerNorm):
            part.bias = None
