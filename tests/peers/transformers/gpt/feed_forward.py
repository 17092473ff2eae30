"""Hugging Face transformers: `NewGELUActivation` and `GPT2MLP`."""

import torch
from torch import nn
from torch.func import functional_call
from transformers import Conv1D, GPT2Config
from transformers.activations import GELUActivation, NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

DEVIATIONS = {
    "is-pure": (
        "GPT-2's Conv1D in transformers 5.23 takes a view of what it reads, which must lie in "
        "one piece",
        "view size is not compatible",
    ),
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


class FeedForward(nn.Module):
    """Lends its weights to GPT-2's, which holds them transposed and always has biases."""

    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=True):
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        peer = GPT2MLP(d_ff, GPT2Config(n_embd=d_model, n_head=1, resid_pdrop=dropout))
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's

    def forward(self, x):
        weights = {}
        for theirs, ours in {"c_fc": self.up, "c_proj": self.down}.items():
            weights[f"{theirs}.weight"] = ours.weight.mT
            zeros = ours.weight.new_zeros(len(ours.weight))
            weights[f"{theirs}.bias"] = zeros if ours.bias is None else ours.bias
        return functional_call(self.peer[0].train(self.training), weights, (x,))


def remove_biases(module):
    """GPT-2 has no switch for them: zeros that are no parameters take their place."""
    for part in module.modules():
        if isinstance(part, Conv1D):
            zeros = torch.zeros_like(part.bias)
            del part.bias
            part.register_buffer("bias", zeros, persistent=False)
        elif isinstance(part, nn.LayerNorm):
            part.bias = None
