"""Hugging Face transformers: `get_cosine_with_min_lr_schedule_with_warmup`."""

import torch
from transformers import get_cosine_with_min_lr_schedule_with_warmup

DEVIATIONS = {
    "every-step-moves": (
        "transformers 5.23 begins its warmup with a rate of 0",
        "assert False",
    ),
    "warmup-is-even": (
        "transformers 5.23 begins its warmup with a rate of 0",
        "assert False",
    ),
    "never-rises-again": (
        "the cosine of transformers 5.23 runs on, and climbs again",
        "assert False",
    ),
    "ends-at-the-floor": (
        "the cosine of transformers 5.23 runs on, and climbs again",
        "assert False",
    ),
    "rejects-steps-before-the-first": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-runs-without-descent": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-floors-above-the-peak": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def learning_rate(step, *, peak, warmup, steps, floor=0.0):
    optimizer = torch.optim.SGD([torch.zeros(())], lr=peak)
    schedule = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, steps, min_lr=floor)
    return peak * schedule.lr_lambdas[0](step)
