"""What others need for the same text: compressors, and a character n-gram model.

All figures are bits per byte of UTF-8, lower is better, as for a model's predictions: a
compressor's output and a model's cross-entropy both say how many bits tell the text.
"""

import gzip
import lzma
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

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

    Each order is blended with the one below by Witten and Bell's rule (1991, method C): the more
    kinds of character followed a context, the likelier is one that never did. Below the single
    characters stands an even guess over all of Unicode, so nothing is impossible.

    Examples:
        >>> round(ngram_bits_per_byte(["abab" * 10], ["abab" * 100]), 1)
        0.2
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    followers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in train:
        for _, context, character in _grams(document, order):
            followers[context][character] += 1
    totals = {context: seen.total() for context, seen in followers.items()}
    bits, probability = 0.0, 1.0
    for document in documents:
        for width, context, character in _grams(document, order):
            if width == 0:
                bits -= math.log2(probability)
                probability = 1 / 0x110000
            if seen := followers.get(context):
                kinds = len(seen)
                probability = (seen[character] + kinds * probability) / (totals[context] + kinds)
    return (bits - math.log2(probability)) / _size(documents)


def _grams(document: str, order: int) -> Iterator[tuple[int, str, str]]:
    """Yield each character with its contexts, from none to `order` - 1 characters long."""
    text = BOUNDARY * (order - 1) + document + BOUNDARY
    for at in range(order - 1, len(text)):
        for width in range(order):
            yield width, text[at - width : at], text[at]


def _joined(documents: Sequence[str]) -> bytes:
    return "".join(document + BOUNDARY for document in documents).encode()


def _size(documents: Sequence[str]) -> int:
    size = sum(len(document.encode()) for document in documents)
    if size == 0:
        raise ValueError("the documents hold no text: nothing to compare")
    return size


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
