"""Hugging Face transformers: the logits processors of `generate`."""

from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

DEVIATIONS = {
    "top-k-keeps-k": (
        "transformers 5.23 keeps all that tie with the last",
        "assert tensor(2) == 1",
    ),
}


def process(processor, logits, ids=None):
    rows = logits.reshape(-1, logits.shape[-1])
    ids = ids if ids is None else ids.reshape(len(rows), ids.shape[-1])
    return processor(ids, rows).view(logits.shape)


def apply_temperature(logits, temperature):
    return process(TemperatureLogitsWarper(temperature), logits)


def top_k(logits, k):
    return process(TopKLogitsWarper(k), logits)


def top_p(logits, p):
    return process(TopPLogitsWarper(p), logits)


def min_p(logits, p):
    return process(MinPLogitsWarper(p), logits)


def apply_repetition_penalty(logits, ids, penalty):
    return process(RepetitionPenaltyLogitsProcessor(penalty), logits, ids)
