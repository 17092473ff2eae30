"""PyTorch: `TensorDataset`, `DistributedSampler` and `DataLoader`."""

from itertools import islice

import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

DEVIATIONS = {
    "every-epoch-is-new": (
        "PyTorch 2.13 adds the epoch to the seed, and its generator takes 32 bits of a seed",
        "assert True == (4294967296 == 0)",
    ),
    "seed-alone-decides": (
        "DataLoader of PyTorch 2.13 draws a number from the global generator when it starts",
        "Tensor-likes are not equal",
    ),
    "device-of-the-text": (
        "the samplers of PyTorch 2.13 draw on its default device",
        "a tensor was made on torch's default device",
    ),
    "rejects-negative": (
        "PyTorch 2.13 accepts it",
        "accepted what must be refused",
    ),
    "rejects-short-text": (
        "PyTorch 2.13 raises a RuntimeError",
        "failed with RuntimeError",
    ),
}


class Windows(TensorDataset):
    def __init__(self, tokens, context_length, stride=None):
        rows = tokens.long().unfold(0, context_length + 1, stride or context_length)
        super().__init__(rows[:, :-1], rows[:, 1:])


def sampler(n_windows, seed, epoch):
    shuffle = DistributedSampler(range(n_windows), num_replicas=1, rank=0, seed=seed)
    shuffle.set_epoch(epoch)
    return shuffle


def order(n_windows, *, seed, epoch):
    return torch.tensor(list(sampler(n_windows, seed, epoch)))


def batch(windows, step, *, batch_size, seed):
    epoch, place = divmod(step, len(windows) // batch_size)
    shuffle = sampler(len(windows), seed, epoch)
    loader = DataLoader(windows, batch_size, sampler=shuffle, drop_last=True)
    return tuple(next(islice(loader, place, None)))
