"""LitGPT's `sample` and `sample_top_p`; what it chooses from is seen where it calls torch."""

from unittest.mock import patch

import torch
from litgpt.generate import base


def rows(function, logits):
    """Call what wants one row of logits with any number of them."""
    each = [function(row) for row in logits.reshape(-1, logits.shape[-1])]
    return torch.stack(each) if each else logits


def seen(function, logits, **settings):
    with patch.object(torch, function, wraps=getattr(torch, function)) as chooses:
        base.sample(logits[None, None], **settings)
    return chooses.call_args.args[0]


def greedy(logits):
    chosen = rows(lambda row: base.sample(row[None, None], temperature=0.0), logits)
    return chosen.to(torch.long).view(logits.shape[:-1])


def apply_temperature(logits, temperature):
    if not temperature:
        return torch.nn.functional.one_hot(greedy(logits), logits.shape[-1]).to(logits).log()
    drawn_from = rows(lambda row: seen("multinomial", row, temperature=temperature), logits)
    return drawn_from.log().view(logits.shape)


def top_k(logits, k):
    kept = rows(lambda row: seen("argmax", row, temperature=0.0, top_k=k), logits)
    return kept.view(logits.shape)


def top_p(logits, p):
    return rows(lambda row: base.sample_top_p(row, p), logits).view(logits.shape)
