"""PyTorch: `LinearLR`, then `CosineAnnealingLR`, one after the other by `SequentialLR`."""

from functools import lru_cache

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

DEVIATIONS = {
    "never-rises-again": (
        "CosineAnnealingLR of PyTorch 2.13 climbs again after eta_min",
        "assert False",
    ),
    "ends-at-the-floor": (
        "CosineAnnealingLR of PyTorch 2.13 climbs again after eta_min",
        "assert False",
    ),
    "rejects-steps-before-the-first": (
        "PyTorch 2.13 counts steps itself and is never asked for one",
        "failed with IndexError",
    ),
    "rejects-runs-without-descent": (
        "PyTorch 2.13 divides by zero",
        "failed with ZeroDivisionError",
    ),
    "rejects-floors-above-the-peak": (
        "PyTorch 2.13 accepts it, and climbs",
        "accepted what must be refused",
    ),
}


def learning_rate(step, *, peak, warmup, steps, floor=0.0):
    length = 64 * (step // 64 + 1)
    return rates(length, peak, warmup, steps, floor)[step]


@lru_cache
def rates(length, peak, warmup, steps, floor):
    optimizer = torch.optim.SGD([torch.zeros(())], lr=peak)
    climb = LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    descent = CosineAnnealingLR(optimizer, steps - warmup, floor)
    scheduler = SequentialLR(optimizer, [climb, descent], [warmup])
    seen = []
    for _ in range(length):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen
