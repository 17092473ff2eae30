"""N-grams: a model that has only counted which byte follows which few bytes."""

import math
from collections import Counter
from collections.abc import Sequence

from gptspec.evaluation.compressors import join
from gptspec.evaluation.likelihood import count_bytes


class NGram:
    """A model that counted which byte follows which few bytes.

    Each order is blended with the one below by Witten and Bell's rule: the more kinds of byte
    followed a context, the likelier is one that never did. Below the single bytes stands an even
    guess, so nothing is impossible.

    Args:
        documents: The text to count, read as one stream.
        order: Length of what is counted: a byte and the `order - 1` before it.

    Raises:
        ValueError: If `order` is below 1.

    Examples:
        >>> model = NGram(["ab" * 500], order=3)
        >>> round(model.probability(b"ab", ord("a")), 3)
        0.998
        >>> round(model.bits_per_byte(["ab" * 500]), 2)
        0.01

    Source:
        Witten & Bell 1991, method C.
    """

    def __init__(self, documents: Sequence[str], *, order: int = 6) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        text = join(documents)
        self._seen: Counter[bytes] = Counter()
        for width in range(1, order + 1):
            ends = range(width, len(text) + 1)
            self._seen.update(map(text.__getitem__, map(slice, range(len(text)), ends)))
        self._kinds = Counter(gram[:-1] for gram in self._seen)  # different bytes that followed
        self._followed: Counter[bytes] = Counter()  # how often any did
        for gram, times in self._seen.items():
            self._followed[gram[:-1]] += times

    def probability(self, before: bytes, byte: int) -> float:
        """Return how probable `byte` is after the bytes `before`."""
        probability = 1 / 256
        for width in range(min(self.order, len(before) + 1)):
            context = before[len(before) - width :]
            if not (kinds := self._kinds[context]):
                break  # nothing longer was seen either
            times = self._seen[context + bytes([byte])]
            probability = (times + kinds * probability) / (self._followed[context] + kinds)
        return probability

    def bits_per_byte(self, documents: Sequence[str]) -> float:
        """Return what the documents cost, read as one stream.

        Raises:
            ValueError: If they hold no text.
        """
        n_bytes = count_bytes(documents)
        text, reach = join(documents), self.order - 1
        bits = (
            -math.log2(self.probability(text[max(at - reach, 0) : at], byte))
            for at, byte in enumerate(text)
        )
        return sum(bits) / n_bytes
