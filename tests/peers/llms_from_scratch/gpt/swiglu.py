"""Raschka's `FeedForward` of Llama 3, which has no biases: examples with biases are not judged."""

from llms_from_scratch import llama3

from peers.fitting import rename

DEVIATIONS = {
    "rejects-widths": (
        "llms-from-scratch 1.0.19 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class SwiGLU(llama3.FeedForward):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=False):
        if dropout:
            raise NotImplementedError
        if bias:
            raise NotImplementedError
        super().__init__({"emb_dim": d_model, "hidden_dim": d_ff, "dtype": None})
        rename(self, fc1="gate", fc2="up", fc3="down")
