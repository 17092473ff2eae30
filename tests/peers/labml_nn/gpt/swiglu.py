"""labml's gated `FeedForward` with PyTorch's SiLU."""

from labml_nn.transformers.feed_forward import FeedForward as Labml
from torch import nn

from peers.fitting import rename

DEVIATIONS = {
    "dropout-falls-on-the-output": (
        "labml-nn 0.5.1 drops between the layers",
        0.2,
    ),
    "rejects-widths": (
        "labml-nn 0.5.1 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "labml-nn 0.5.1 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class SwiGLU(Labml):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=False):
        biases = {"bias1": bias, "bias2": bias, "bias_gate": bias}
        super().__init__(d_model, d_ff, dropout, nn.SiLU(), is_gated=True, **biases)
        rename(self, layer1="gate", linear_v="up", layer2="down")
