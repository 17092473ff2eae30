"""Hugging Face transformers: `LabelSmoother`, the Trainer's loss, without smoothing."""

from transformers.trainer_pt_utils import LabelSmoother

DEVIATIONS = {
    "truth-is-cheapest": "transformers 5.23 adds 0 times all costs: NaN if one is infinite",
    "half-precision-is-lifted": "transformers 5.23 computes in bfloat16",
    "rejects-nothing-counted": "transformers 5.23 returns NaN",
    "rejects-unknown-targets": "transformers 5.23 raises a RuntimeError",
}


def cross_entropy(logits, targets, *, ignore=-100):
    return LabelSmoother(epsilon=0.0, ignore_index=ignore)({"logits": logits}, targets)
