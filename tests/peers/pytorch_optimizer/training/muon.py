"""pytorch-optimizer's `Muon` with Moonlight's lengths of steps."""

import pytorch_optimizer
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5

DEVIATIONS = {
    "equals-torch": (
        "pytorch-optimizer 4.1.0 rounds to bfloat16 when it steps",
        "Tensor-likes are not close",
    ),
    "state-is-tensors": (
        "pytorch-optimizer 4.1.0 rounds to bfloat16 when it steps",
        "Tensor-likes are not close",
    ),
    "rejects-hyperparameters": (
        "the messages of pytorch-optimizer 4.1.0 say learning rate, not lr",
        "failed with NegativeLRError",
    ),
    "rejects-what-is-no-matrix": (
        "pytorch-optimizer 4.1.0 accepts it",
        "accepted what must be refused",
    ),
    "rejects-steps": (
        "pytorch-optimizer 4.1.0 accepts 0 steps",
        "accepted what must be refused",
    ),
}


def orthogonalize(matrix, steps=5):
    return zero_power_via_newton_schulz_5(matrix, steps, dtype=matrix.dtype)


def Muon(params, lr=1e-3, *, momentum=0.95, weight_decay=0.1):  # noqa: N802
    params = list(params)
    groups = params if isinstance(params[0], dict) else [{"params": params}]
    return pytorch_optimizer.Muon(
        [{**group, "use_muon": True} for group in groups],
        lr,
        momentum,
        weight_decay,
        use_adjusted_lr=True,
    )
