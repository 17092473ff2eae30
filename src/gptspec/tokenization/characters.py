"""Characters as tokens: a vocabulary that is nearly complete, and texts that become long."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from gptspec.checks import check, check_ids, check_text
from gptspec.tokenization.words import END_OF_TEXT, UNKNOWN


class CharacterTokenizer:
    """Numbers for characters: a character's place in the alphabet is its id.

    After the alphabet follow `<|unk|>`, if unknown characters are replaced, and `<|endoftext|>`;
    `end_of_text` is the id of the latter.

    Args:
        alphabet: All characters that have an id, each once.
        unknown: What `encode` does with any other character: raise an error, or replace it with
            the id of `<|unk|>`.

    Raises:
        TypeError: If `alphabet` is not a `str`.
        ValueError: If a character occurs twice, or `unknown` is neither of the two.

    Examples:
        >>> tokenizer = CharacterTokenizer("abc")
        >>> tokenizer.encode("cab")
        [2, 0, 1]
        >>> tokenizer.decode([2, 0, 1])
        'cab'
        >>> tokenizer.encode("cat")
        Traceback (most recent call last):
        ValueError: text has 't' at position 2, outside the alphabet: train on more text, or choose
        unknown='replace'
        >>> CharacterTokenizer("abc", unknown="replace").encode("cat")
        [2, 0, 3]
    """

    def __init__(self, alphabet: str, *, unknown: Literal["error", "replace"] = "error") -> None:
        check("unknown", unknown, unknown in ("error", "replace"), "'error' or 'replace'")
        check_text(alphabet=alphabet)
        twice = [character for character, count in Counter(alphabet).items() if count > 1]
        check("alphabet", twice, not twice, "different characters")
        specials = (UNKNOWN, END_OF_TEXT) if unknown == "replace" else (END_OF_TEXT,)
        self.tokens = (*alphabet, *specials)
        self._ids = {token: id for id, token in enumerate(self.tokens)}
        self.end_of_text = self._ids[END_OF_TEXT]
        self._special_or_character = re.compile(
            "|".join([*map(re.escape, specials), "."]), re.DOTALL
        )

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, the special ones included."""
        return len(self.tokens)

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Return one id a character.

        Args:
            text: Any text, or with `unknown="error"` any text in the alphabet.
            specials: Whether special tokens in the text get their own ids.

        Raises:
            TypeError: If `text` is not a `str`.
            ValueError: If a character is unknown and unknown characters are errors.
        """
        check_text(text=text)
        pieces = self._special_or_character.findall(text) if specials else list(text)
        if UNKNOWN in self._ids:
            return [self._ids.get(piece, self._ids[UNKNOWN]) for piece in pieces]
        for index, piece in enumerate(pieces):
            if piece not in self._ids:
                position = len("".join(pieces[:index]))
                raise ValueError(
                    f"text has {piece!r} at position {position}, outside the alphabet: "
                    "train on more text, or choose unknown='replace'"
                )
        return [self._ids[piece] for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the characters of the ids, side by side.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        return "".join(self.tokens[id] for id in check_ids(ids, self.vocab_size))


def train(
    texts: Iterable[str], *, unknown: Literal["error", "replace"] = "error"
) -> CharacterTokenizer:
    """Return a tokenizer that knows every character of the texts, sorted.

    Raises:
        TypeError: If `texts` holds something else than `str`.

    Examples:
        >>> train(["the cat", "sat"]).tokens
        (' ', 'a', 'c', 'e', 'h', 's', 't', '<|endoftext|>')
    """
    alphabet: set[str] = set()
    for text in texts:
        check_text(text=text)
        alphabet.update(text)
    return CharacterTokenizer("".join(sorted(alphabet)), unknown=unknown)
