"""The learning rate of labml's `AdamWarmupCosineDecay`, whose floor is a tenth of the peak."""

from labml_nn.optimizers.adam_warmup_cosine_decay import AdamWarmupCosineDecay
from torch import nn, zeros

DEVIATIONS = {
    "warmup-is-even": (
        "labml-nn 0.5.1 starts from 1e-8, so the peak comes a step later",
        "assert False",
    ),
    "never-rises-again": (
        "the rate of labml-nn 0.5.1 climbs back to the peak after the last step",
        "assert False",
    ),
    "ends-at-the-floor": (
        "the rate of labml-nn 0.5.1 climbs back to the peak after the last step, and its "
        "floor is a tenth of the peak",
        "assert False",
    ),
    "descent-is-torchs-cosine": (
        "labml-nn 0.5.1 cuts the cosine off at a tenth of the peak",
        "assert False",
    ),
    "rejects-steps-before-the-first": (
        "labml-nn 0.5.1 accepts them",
        "failed with ZeroDivisionError",
    ),
    "rejects-runs-without-descent": (
        "labml-nn 0.5.1 accepts them",
        "accepted what must be refused",
    ),
    "rejects-floors-above-the-peak": (
        "the floor of labml-nn 0.5.1 is no argument",
        "accepted what must be refused",
    ),
}


def learning_rate(step, *, peak, warmup, steps, floor=0.0):
    parameters = [nn.Parameter(zeros(1))]
    optimizer = AdamWarmupCosineDecay(parameters, lr=peak, warmup=warmup, total_steps=steps)
    return optimizer.get_lr({"step": step}, optimizer.defaults)
