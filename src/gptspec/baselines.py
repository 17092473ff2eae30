"""What others need for the same text: compressors, and a character n-gram model.

All figures are bits per byte of UTF-8, lower is better, as for a model's predictions: a
compressor's output and a model's cross-entropy both say how many bits tell the text.
"""

import gzip
import lzma
import math
from collections import Counter
from collections.abc import Sequence

BOUNDARY = "\0"  # ends each document, for the compressors as for the models


def gzip_bits_per_byte(documents: Sequence[str]) -> float:
    """Return what `gzip -9` needs."""
    text = _joined(documents)
    return 8 * len(gzip.compress(text, 9, mtime=0)) / _size(documents)


def xz_bits_per_byte(documents: Sequence[str], primed: Sequence[str] = ()) -> float:
    """Return what `xz -9e` needs, alone or after `primed`, which it has seen for nothing.

    The dictionary of `-9` is 64 MiB, so a text below that size stays in reach as a whole.
    """
    before, text = _joined(primed), _joined(documents)
    return 8 * (_xz(before + text) - (_xz(before) if before else 0)) / _size(documents)


def ngram_bits_per_byte(documents: Sequence[str], train: Sequence[str], *, order: int = 6) -> float:
    """Return what a character n-gram model, counted on `train`, needs for `documents`.

    The documents are read as one stream. Each order is blended with the one below by Witten and
    Bell's rule (1991, method C): the more kinds of character followed a context, the likelier is
    one that never did. Below the single characters stands an even guess over all of Unicode, so
    nothing is impossible.

    Raises:
        ValueError: If `order` is below 1, or `documents` hold no text.

    Examples:
        >>> round(ngram_bits_per_byte(["abab" * 10], ["abab" * 100]), 1)
        0.2
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    text = "".join(document + BOUNDARY for document in train)
    seen: Counter[str] = Counter()
    for width in range(1, order + 1):
        slices = map(slice, range(len(text) - width + 1), range(width, len(text) + 1))
        seen.update(map(text.__getitem__, slices))
    kinds = Counter(gram[:-1] for gram in seen)  # how many different characters followed
    follows: Counter[str] = Counter()
    for gram, times in seen.items():
        follows[gram[:-1]] += times
    text, bits = "".join(document + BOUNDARY for document in documents), 0.0
    for end in range(1, len(text) + 1):
        probability = 1 / 0x110000
        for width in range(1, min(order, end) + 1):
            gram = text[end - width : end]
            if not (new := kinds[gram[:-1]]):
                break  # nothing longer was seen either
            probability = (seen[gram] + new * probability) / (follows[gram[:-1]] + new)
        bits -= math.log2(probability)
    return bits / _size(documents)


def _joined(documents: Sequence[str]) -> bytes:
    return "".join(document + BOUNDARY for document in documents).encode()


def _size(documents: Sequence[str]) -> int:
    size = sum(len(document.encode()) for document in documents)
    if size == 0:
        raise ValueError("the documents hold no text: nothing to compare")
    return size


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
