"""LitGPT's `get_lr` of pretraining."""

from litgpt.pretrain import get_lr

DEVIATIONS = {
    "every-step-moves": (
        "the first rate of LitGPT 0.5.13 is 0",
        "assert False",
    ),
    "warmup-is-even": (
        "LitGPT 0.5.13 starts from 0, so the peak comes a step later",
        "assert False",
    ),
    "rejects-steps-before-the-first": (
        "LitGPT 0.5.13 returns a rate below 0, or divides by 0",
        "failed with ZeroDivisionError",
    ),
    "rejects-runs-without-descent": (
        "LitGPT 0.5.13 accepts them",
        "accepted what must be refused",
    ),
    "rejects-floors-above-the-peak": (
        "LitGPT 0.5.13 accepts them",
        "accepted what must be refused",
    ),
}


def learning_rate(step, *, peak, warmup, steps, floor=0.0):
    return get_lr(peak, step, warmup, steps, floor)
