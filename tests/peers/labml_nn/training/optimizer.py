"""labml's `Adam` with decoupled weight decay and the epsilon of the paper."""

from labml_nn.optimizers import WeightDecay
from labml_nn.optimizers.adam import Adam

DEVIATIONS = {
    "state-is-torchs": (
        "labml-nn 0.5.1 counts steps in a plain int",
        "assert False",
    ),
    "rejects-hyperparameters": (
        "the messages of labml-nn 0.5.1 say learning rate, not lr",
        "the message does not mention",
    ),
}


def AdamW(params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):  # noqa: N802
    decay = WeightDecay(weight_decay)
    return Adam(params, lr, betas, eps, decay, optimized_update=False)
