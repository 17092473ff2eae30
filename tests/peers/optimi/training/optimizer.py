"""optimi's `AdamW`, whose groups hold `beta1` and `beta2` in place of `betas`."""

import optimi

DEVIATIONS = {
    "equals-torch": (
        "optimi 0.3.3 counts steps for a whole group: a weight that has its first gradient "
        "later does not move by the rate",
        "Tensor-likes are not close",
    ),
    "state-is-torchs": (
        "the groups of optimi 0.3.3 hold beta1 and beta2",
        "'betas'",
    ),
    "rejects-hyperparameters": (
        "the messages of optimi 0.3.3 name one beta alone",
        "the message does not mention",
    ),
}


def renamed(group):
    first, second = group.pop("betas")
    return {**group, "beta1": first, "beta2": second}


def AdamW(params, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):  # noqa: N802
    groups = [renamed(one) if isinstance(one, dict) and "betas" in one else one for one in params]
    return optimi.AdamW(groups, lr, betas, weight_decay, eps)
