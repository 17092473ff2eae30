"""Vocabulary: a tokenizer that others trained; our merges, with their ids and their cuts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import regex
from tiktoken import Encoding

from gptspec.checks import check, check_ids
from gptspec.tokenization import bpe
from gptspec.tokenization import bytes as utf8
from gptspec.tokenization.bpe import BPE

# By the name in `tokenizer.ggml.pre`. SmolLM first sets each digit apart, then cuts as GPT-2 does:
# white space before a digit is then the end of a text, and keeps its last space.
PATTERNS = {
    "gpt-2": bpe.PATTERN,
    "smollm": bpe.PATTERN.replace(r" ?\p{N}++", r"\p{N}").replace(r"\s++$", r"\s++(?=\p{N}|$)"),
}
CONTROL = 3, 4  # kinds of tokens that stand for themselves; 1 are those that merges make
NORMAL = 1

# GPT-2 writes a byte as its own character if that can be seen, else as one of those from 256 on.
_SEEN = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)}
_OTHERS = iter(range(256, 512))
ALPHABET = {chr(byte if byte in _SEEN else next(_OTHERS)): byte for byte in range(256)}


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer whose tokens have the ids that a file gives them.

    Args:
        bpe: Its merges and special tokens, numbered our way.
        ids: The file's id of each of our ids; None for a byte that the file has no token for.
        pattern: How texts are cut before they are merged, one of the `PATTERNS`.

    Examples:
        >>> vocabulary = Vocabulary(BPE(((97, 98),), ()), (*range(1, 257), 0), PATTERNS["gpt-2"])
        >>> vocabulary.encode("abc")
        [0, 100]
    """

    bpe: BPE
    ids: tuple[int | None, ...]
    pattern: str

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self._ours)

    @cached_property
    def _ours(self) -> tuple[int, ...]:
        """Our id of each of the file's."""
        numbered = {theirs: ours for ours, theirs in enumerate(self.ids) if theirs is not None}
        return tuple(numbered[theirs] for theirs in range(len(numbered)))

    @cached_property
    def _absent(self) -> frozenset[int]:
        return frozenset(byte for byte in range(256) if self.ids[byte] is None)

    @cached_property
    def _new_ids(self) -> dict[tuple[int, int], int]:
        return {pair: 256 + rank for rank, pair in enumerate(self.bpe.merges)}

    @cached_property
    def _tiktoken(self) -> Encoding:
        n_merged = 256 + len(self.bpe.merges)
        ranks = {self.bpe.token_bytes(id): id for id in range(n_merged)}
        return Encoding(
            "vocabulary", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Return the ids of a text; bytes that have no token are left out.

        Args:
            text: Any text.
            specials: Whether special tokens in the text get their own ids; leave it off for text
                that others wrote.

        Raises:
            TypeError: If `text` is not a `str`.
            ValueError: If `text` holds half of a character, or a million spaces in a row, which
                is a limit of tiktoken.
        """
        names = self.bpe.specials
        ours: list[int] = []
        for place, piece in enumerate(bpe.cut(text, names if specials else ())):
            if place % 2:
                ours.append(self.bpe.vocab_size - len(names) + names.index(piece))
            elif self._absent.isdisjoint(utf8.encode(piece)):
                ours += self._tiktoken.encode(piece, disallowed_special=())
            else:
                for word in regex.findall(self.pattern, piece):
                    kept = [byte for byte in utf8.encode(word) if byte not in self._absent]
                    ours += bpe.replay(kept, self._new_ids)
        return [id for one in ours if (id := self.ids[one]) is not None]

    def ours(self, ids: Iterable[int]) -> list[int]:
        """Return what `bpe` calls these tokens.

        Raises:
            ValueError: If an id does not exist.
        """
        return [self._ours[id] for id in check_ids(ids, self.vocab_size)]

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of one token, perhaps only a part of a character.

        Raises:
            ValueError: If there is no such id.
        """
        return self.bpe.token_bytes(*self.ours([id]))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: If an id does not exist.
        """
        return self.bpe.decode(self.ours(ids))


def from_gguf(metadata: Mapping[str, Any]) -> Vocabulary:
    """Return the tokenizer that the settings of a GGUF file describe.

    Raises:
        ValueError: If it is no byte-pair encoding of bytes, cuts texts in a way not known here, or
            contradicts itself.

    Source:
        llama.cpp, `src/llama-vocab.cpp`: kinds of tokens, names of pre-tokenizers.
    """
    kind, cuts = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    check("tokenizer.ggml.model", kind, kind == "gpt2", "gpt2, a byte-pair encoding of bytes")
    check("tokenizer.ggml.pre", cuts, cuts in PATTERNS, f"one of {', '.join(PATTERNS)}")
    tokens, pairs, kinds = (
        _several(metadata, f"tokenizer.ggml.{name}", type)
        for name, type in [("tokens", str), ("merges", str), ("token_type", int)]
    )
    if len(kinds) != len(tokens) or not {NORMAL, *CONTROL} >= set(kinds):
        raise ValueError(
            f"token_type must be {NORMAL}, {CONTROL[0]} or {CONTROL[1]} for each of "
            f"{len(tokens)} tokens, got {len(kinds)} of {sorted(set(kinds))[:9]}"
        )
    specials = [token for token, kind in zip(tokens, kinds, strict=True) if kind in CONTROL]
    return from_tokens(tokens, [pair.split(" ") for pair in pairs], specials, PATTERNS[str(cuts)])


def from_tokens(
    tokens: Sequence[str], pairs: Sequence[Sequence[str]], specials: Sequence[str], pattern: str
) -> Vocabulary:
    """Return the tokenizer with these tokens and merges, bytes written in the `ALPHABET`.

    Args:
        tokens: In the order of their ids.
        pairs: The two tokens of each merge, in the order learned.
        specials: Those of the tokens that stand for themselves.
        pattern: How texts are cut before they are merged.

    Raises:
        ValueError: If a token occurs twice, a merge is of what there is not yet, or a token is
            neither a byte nor made by a merge nor special.
    """
    special = set(specials)
    ids = {token: id for id, token in enumerate(tokens) if token not in special}
    if len(ids) + len(special) != len(tokens):
        raise ValueError(f"tokens must differ, got {len(tokens)} with some of them twice")
    merges, ours = [], dict(ALPHABET)
    for rank, parts in enumerate(pairs):
        known = len(parts) == 2 and all(part in ours for part in parts)
        wanted = "two tokens that there are, a space between them"
        check(f"merges[{rank}]", " ".join(parts), known, wanted)
        merges.append((ours[parts[0]], ours[parts[1]]))
        ours["".join(parts)] = 256 + rank
    unmade = [token for token in ids if token not in ours]
    unnumbered = [token for token, id in ours.items() if id >= 256 and token not in ids]
    if unmade or unnumbered:
        raise ValueError(
            "tokens must be bytes, what merges make, or special: "
            f"no merge makes {unmade[:3]}, no id have {unnumbered[:3]}"
        )
    places = {token: id for id, token in enumerate(tokens)}
    numbers = (*(ids.get(token) for token in ours), *(places[special] for special in specials))
    return Vocabulary(BPE(tuple(merges), tuple(specials)), numbers, pattern)


def _several(metadata: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    values = metadata.get(name)
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ValueError(f"{name} must be a list of {kind.__name__}")
    return values
