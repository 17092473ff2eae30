"""Hugging Face transformers: `DynamicLayer` and `DynamicSlidingWindowLayer` of a cache."""

from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

DEVIATIONS = {
    "forgets-what-nobody-reads": (
        "a window of 1 in transformers 5.23 keeps everything",
        "assert ",
    ),
    "seldom-copies": (
        "transformers 5.23 copies the whole cache for each token",
        "assert 1100 <= (1 + ",
    ),
    "owns-what-it-keeps": (
        "transformers 5.23 hands out the tensors that it keeps",
        100.0,
    ),
    "rejects-other-texts": (
        "transformers 5.23 raises a RuntimeError",
        "failed with RuntimeError",
    ),
    "rejects-empty-window": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


class Cache:
    def __init__(self, window=None, *, spare=0):
        if spare:
            raise NotImplementedError
        self.layer = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)

    @property
    def time(self):
        return self.layer.get_seq_length()

    def __len__(self):
        return self.layer.keys.shape[-2] if self.layer.is_initialized else 0

    def append(self, keys, values):
        if keys.ndim == 3:
            keys, values = self.layer.update(keys[None], values[None])
            return keys[0], values[0]
        return self.layer.update(keys, values)

    def truncate(self, time):
        raise NotImplementedError  # theirs cuts a cache without a window only

    def join(self, caches):
        raise NotImplementedError
