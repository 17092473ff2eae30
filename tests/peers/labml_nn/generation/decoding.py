"""labml's samplers, with a last sampler that hands out the logits it was to draw from."""

import torch
from labml_nn.sampling.greedy import GreedySampler
from labml_nn.sampling.nucleus import NucleusSampler
from labml_nn.sampling.top_k import TopKSampler

DEVIATIONS = {
    "top-k-keeps-k": (
        "labml-nn 0.5.1 fails for a k above the vocabulary",
        "selected index k out of range",
    ),
}


def greedy(logits):
    return GreedySampler()(logits)


def top_k(logits, k):
    return TopKSampler(k, lambda kept: kept)(logits)


def top_p(logits, p):
    """Its ranks are turned back to ids by asking for the token of each rank."""
    ranked = []

    def every_rank(kept):
        ranked.append(kept[0])
        return torch.arange(len(kept))

    ids = NucleusSampler(p, every_rank)(logits.expand(len(logits), -1))
    return torch.empty_like(logits).scatter(-1, ids, ranked[0])
