"""Hugging Face transformers: `LabelSmoother`, the Trainer's loss, without smoothing."""

from transformers.trainer_pt_utils import LabelSmoother

DEVIATIONS = {
    "truth-is-cheapest": (
        "transformers 5.23 adds 0 times all costs: NaN if one is infinite",
        "but got nan",
    ),
    "equals-torch": (
        "transformers 5.23 adds 0 times all costs: NaN if one is infinite",
        "but got nan",
    ),
    "half-precision-is-lifted": (
        "transformers 5.23 computes in bfloat16",
        0.05,
    ),
    "rejects-nothing-counted": (
        "transformers 5.23 returns NaN",
        "accepted what must be refused",
    ),
    "rejects-unknown-targets": (
        "transformers 5.23 raises a RuntimeError",
        "failed with RuntimeError",
    ),
}


def cross_entropy(logits, targets, *, ignore=-100):
    return LabelSmoother(epsilon=0.0, ignore_index=ignore)({"logits": logits}, targets)
