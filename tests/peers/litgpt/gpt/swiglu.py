"""LitGPT's `LLaMAMLP`."""

from litgpt.config import Config
from litgpt.model import LLaMAMLP

from peers.fitting import rename

DEVIATIONS = {
    "rejects-widths": (
        "LitGPT 0.5.13 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class SwiGLU(LLaMAMLP):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=False):
        if dropout:
            raise NotImplementedError
        super().__init__(Config(n_embd=d_model, n_head=1, intermediate_size=d_ff, bias=bias))
        rename(self, fc_1="gate", fc_2="up", proj="down")
