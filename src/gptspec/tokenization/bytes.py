"""Bytes as tokens: 256 ids write every text there is."""

import codecs
from collections.abc import Iterable

from gptspec.checks import check_ids, check_text


def encode(text: str) -> list[int]:
    """Return the bytes of the text in UTF-8, one to four a character.

    Raises:
        TypeError: If `text` is not a `str`.
        ValueError: If `text` holds a surrogate, half of a character, which UTF-8 cannot write.

    Examples:
        >>> encode("né")
        [110, 195, 169]

    Source:
        RFC 3629, section 3.
    """
    check_text(text=text)
    try:
        return list(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text has {text[error.start]!r} at position {error.start}, half of a character: "
            "read its source again with errors='replace'"
        ) from error


def decode(ids: Iterable[int]) -> str:
    """Return the text that the bytes write; what is not UTF-8 becomes U+FFFD, the � character.

    Raises:
        ValueError: If an id is not a byte.

    Examples:
        >>> decode([110, 195, 169])
        'né'
        >>> decode([110, 195])
        'n�'

    Source:
        The Unicode Standard, section 3.9: one U+FFFD for each broken sequence.
    """
    return bytes(check_ids(ids, 256)).decode("utf-8", errors="replace")


class StreamDecoder:
    """Turns bytes into text as they arrive, holding back a character until it is complete.

    Examples:
        >>> stream = StreamDecoder()
        >>> [stream.feed(bytes([id])) for id in [110, 195, 169]]
        ['n', '', 'é']
        >>> stream.finish()
        ''
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_bytes: bytes) -> str:
        """Return the characters that these bytes complete, often none.

        Args:
            token_bytes: The bytes of the next token: one here, several in byte-pair encoding.

        Raises:
            TypeError: If `token_bytes` is not `bytes`.
        """
        if not isinstance(token_bytes, bytes):
            raise TypeError(f"token_bytes must be bytes, got {type(token_bytes).__name__}")
        return self._decoder.decode(token_bytes)

    def finish(self) -> str:
        """Return what is still held back, now that nothing will complete it: U+FFFD or nothing."""
        return self._decoder.decode(b"", final=True)
