"""x-transformers' `FeedForward` with PyTorch's GELU, and its dropout after the last layer."""

from torch import nn

from peers.x_transformers._quiet import library

DEVIATIONS = {
    "rejects-widths": (
        "x-transformers 2.31.10 takes d_ff as a multiple of d_model",
        "failed with ZeroDivisionError",
    ),
    "rejects-dropout": (
        "x-transformers 2.31.10 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class FeedForward(library.FeedForward):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=True):
        super().__init__(
            d_model,
            mult=d_ff / d_model,
            custom_activation=nn.GELU("tanh"),
            sublayer_dropout=dropout,
            no_bias=not bias,
        )
        self.up, self.down = (part for part in self.ff.modules() if isinstance(part, nn.Linear))
