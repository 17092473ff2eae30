"""Raschka's `generate`: what it is about to choose from is seen where it calls torch."""

from unittest.mock import patch

import torch
from llms_from_scratch import ch05

DEVIATIONS = {
    "top-k-keeps-k": (
        "llms-from-scratch 1.0.19 keeps all that tie with the last",
        "selected index k out of range",
    ),
}


def seen(function, logits, **settings):
    """Return what `generate` gives to a function of torch when a model says these logits."""
    rows = logits.reshape(-1, logits.shape[-1])
    text = torch.zeros(len(rows), 1, dtype=torch.long)
    with patch.object(torch, function, wraps=getattr(torch, function)) as chooses:
        ch05.generate(lambda ids: rows[:, None], text, 1, 1, **settings)
    return chooses.call_args.args[0].view(logits.shape)


def greedy(logits):
    rows = logits.reshape(-1, logits.shape[-1])
    text = torch.zeros(len(rows), 1, dtype=torch.long)
    return ch05.generate(lambda ids: rows[:, None], text, 1, 1)[:, -1].view(logits.shape[:-1])


def apply_temperature(logits, temperature):
    if not temperature:
        return torch.nn.functional.one_hot(greedy(logits), logits.shape[-1]).to(logits).log()
    return seen("multinomial", logits, temperature=temperature).log()


def top_k(logits, k):
    return seen("argmax", logits, top_k=k)
