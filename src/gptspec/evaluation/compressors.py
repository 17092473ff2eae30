"""Compressors: what programs that know nothing of language need for a text."""

import gzip
import lzma
from collections.abc import Sequence

from gptspec.evaluation.likelihood import count_bytes

BOUNDARY = b"\0"  # ends each document, as the end-of-text token does for a model


def join(documents: Sequence[str]) -> bytes:
    r"""Return the documents as one stream of bytes, each followed by `BOUNDARY`.

    Examples:
        >>> join(["one", "two"])
        b'one\x00two\x00'
    """
    return b"".join(document.encode() + BOUNDARY for document in documents)


def gzip_bits_per_byte(documents: Sequence[str]) -> float:
    """Return what `gzip -9` needs: repeats within the last 32 KiB, and frequent bytes in few bits.

    Raises:
        ValueError: If the documents hold no text.
    """
    n_bytes = count_bytes(documents)
    return 8 * len(gzip.compress(join(documents), 9, mtime=0)) / n_bytes


def xz_bits_per_byte(documents: Sequence[str], primed: Sequence[str] = ()) -> float:
    """Return what `xz -9e` needs, alone or after `primed`, which it has seen for nothing.

    The dictionary of `-9` is 64 MiB, so a text below that size stays in reach as a whole.

    Raises:
        ValueError: If the documents hold no text.
    """
    n_bytes = count_bytes(documents)
    before, text = join(primed), join(documents)
    return 8 * (_xz(before + text) - (_xz(before) if before else 0)) / n_bytes


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
