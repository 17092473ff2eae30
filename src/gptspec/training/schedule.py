"""Schedule: how large the steps are, from the first to the last."""

import math

from gptspec.checks import check, check_at_least


def learning_rate(step: int, *, peak: float, warmup: int, steps: int, floor: float = 0.0) -> float:
    """Return the learning rate of a step: up in a line, then down along half a cosine.

    Args:
        step: Which step of the run, counted from 0.
        peak: The highest rate, that of step `warmup`.
        warmup: How many steps climb towards the peak.
        steps: Steps of the whole run.
        floor: The rate from step `steps` on, which the last steps come close to.

    Raises:
        ValueError: If `step` is negative, `warmup` not below `steps`, `floor` above `peak`, or
            `peak` infinite.

    Examples:
        >>> [learning_rate(step, peak=1.0, warmup=3, steps=7) for step in range(4)]
        [0.25, 0.5, 0.75, 1.0]
        >>> learning_rate(5, peak=1.0, warmup=3, steps=7, floor=0.5)
        0.75

    Source:
        Loshchilov and Hutter 2017, equation 5, without restarts; Goyal et al. 2017, section 2.2.
    """
    check_at_least(0, step=step)
    check("warmup", warmup, 0 <= warmup < steps, f"at least 0 and below steps ({steps})")
    check("peak", peak, peak < math.inf, "finite")
    check("floor", floor, 0 <= floor <= peak, f"at least 0 and at most peak ({peak})")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = min((step - warmup) / (steps - warmup), 1)
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2
