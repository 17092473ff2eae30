"""Raschka's `GPTDatasetV1`, given token ids in place of a text."""

import torch
from llms_from_scratch.ch02 import GPTDatasetV1

DEVIATIONS = {
    "copies-nothing": (
        "llms-from-scratch 1.0.19 copies every window",
        "assert ",
    ),
    "rejects-short-text": (
        "llms-from-scratch 1.0.19 returns an empty dataset",
        "accepted what must be refused",
    ),
    "rejects-sizes": (
        "llms-from-scratch 1.0.19 accepts a context of 0",
        "accepted what must be refused",
    ),
    "rejects-index": (
        "llms-from-scratch 1.0.19 takes negative ones from the end",
        "assert 'got -1' in ''",
    ),
    "rejects-several-rows": (
        "llms-from-scratch 1.0.19 accepts them",
        "accepted what must be refused",
    ),
}


class Ids:
    @staticmethod
    def encode(ids, allowed_special):
        return ids


def dataset(ids, context_length, stride):
    return GPTDatasetV1(list(ids), Ids, context_length, stride)


def count(n_tokens, context_length, stride):
    return len(dataset(range(n_tokens), context_length, stride))


def window(tokens, index, context_length, stride):
    return dataset(tokens.tolist(), context_length, stride)[index]


def windows(tokens, context_length, stride):
    cut = dataset(tokens.tolist(), context_length, stride)
    return torch.stack(cut.input_ids), torch.stack(cut.target_ids)
