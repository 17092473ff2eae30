"""curated-transformers' `PointwiseFeedForward`, `GELU` and `GELUNew`."""

from curated_transformers.layers import PointwiseFeedForward
from curated_transformers.layers.activations import Activation

from peers.fitting import rename

DEVIATIONS = {
    "rejects-widths": (
        "curated-transformers 2.0.1 accepts a width of 0",
        "accepted what must be refused",
    ),
}


gelu = Activation.GELU.module()
gelu_tanh = Activation.GELUNew.module()


class FeedForward(PointwiseFeedForward):
    def __init__(self, d_model, d_ff, *, dropout=0.0, bias=True):
        if dropout:
            raise NotImplementedError
        super().__init__(
            activation=gelu_tanh,
            hidden_width=d_model,
            intermediate_width=d_ff,
            use_bias=bias,
            use_gate=False,
        )
        rename(self, intermediate="up", output="down")
