"""Byte-pair encoding: bytes that often stand together become one token."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import inf
from pathlib import Path

import regex
from tiktoken import Encoding

from gptspec import files
from gptspec.checks import check, check_ids, check_several
from gptspec.tokenization import bytes as utf8
from gptspec.tokenization.words import END_OF_TEXT

Pair = tuple[int, int]
KIND = "tokenizer of byte pairs"

# GPT-2's rule. The possessive ++ changes no match, but a long run costs no backtracking.
PATTERN = "|".join(
    [
        r"'(?:s|t|re|ve|m|ll|d)",  # the tail of it's, don't, we're, ...
        r" ?\p{L}++",  # letters, with one space before them
        r" ?\p{N}++",  # digits, likewise
        r" ?[^\s\p{L}\p{N}]++",  # other signs, likewise
        r"\s++$",  # white space at the end of the text
        r"\s+(?!\S)",  # white space before a word, without its last character
        r"\s",  # which stands alone, unless it is a space that the word has taken
    ]
)


def pre_tokenize(text: str) -> list[str]:
    """Cut a text into the pieces that no token may cross; joined, they are the text again.

    Raises:
        TypeError: If `text` is not a `str`.
        ValueError: If `text` holds half of a character.

    Examples:
        >>> pre_tokenize("Don't panic:  42 towels")
        ['Don', "'t", ' panic', ':', ' ', ' 42', ' towels']

    Source:
        Radford et al. 2019, section 2.2; `encoder.py` of the GPT-2 release.
    """
    utf8.encode(text)  # refuses what is no text
    pieces: list[str] = regex.findall(PATTERN, text)
    return pieces


def merge(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """Put the id `new` for each `pair`, from left to right; `new` is an id not in use before.

    Examples:
        A token belongs to one pair at most, so three in a row leave one over.

        >>> merge([97, 97, 97, 98], (97, 97), 256)
        [256, 97, 98]
    """
    left, right = pair
    merged: list[int] = []
    for id in ids:
        if id == right and merged and merged[-1] == left:
            merged[-1] = new
        else:
            merged.append(id)
    return merged


class PairIndex:
    """How often each pair stands in a text, kept true from merge to merge.

    Each distinct word is held once, with how often it stands in the text, and a merge touches
    only the words that hold its pair: it costs what it changes, however long the text is.

    Args:
        words: How often each pre-token stands in the text.

    Examples:
        >>> pairs = PairIndex({"aaab": 2, "ab": 3})
        >>> pairs.counts[97, 97], pairs.counts[97, 98]
        (4, 5)
        >>> pairs.most_frequent()
        (97, 98)
        >>> pairs.merge((97, 98), 256)
        >>> pairs.words
        [[97, 97, 256], [256]]
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        self.words = [utf8.encode(word) for word in words]
        self.copies = list(words.values())
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place, ids in enumerate(self.words):
            for pair in pairwise(ids):
                self.counts[pair] += self.copies[place]
                self.places[pair].add(place)
        self._heap = [(-count, pair) for pair, count in self.counts.items()]
        heapify(self._heap)

    def most_frequent(self) -> Pair | None:
        """Return the pair that is counted most, of equals the smallest; None if no pair is left."""
        # A count that changed was pushed again, so an entry that disagrees is out of date.
        while self._heap and -self._heap[0][0] != self.counts[self._heap[0][1]]:
            heappop(self._heap)
        return self._heap[0][1] if self._heap else None

    def merge(self, pair: Pair, new: int) -> None:
        """Put the id `new` for `pair` in every word."""
        changes: defaultdict[Pair, int] = defaultdict(int)
        for place in self.places.pop(pair, ()):
            copies = self.copies[place]
            for old in pairwise(self.words[place]):
                changes[old] -= copies
            self.words[place] = merge(self.words[place], pair, new)
            for young in pairwise(self.words[place]):
                changes[young] += copies
                self.places[young].add(place)
        for changed, change in changes.items():
            self.counts[changed] += change
            if change and self.counts[changed]:
                heappush(self._heap, (-self.counts[changed], changed))


def train(
    texts: Iterable[str], vocab_size: int, *, specials: tuple[str, ...] = (END_OF_TEXT,)
) -> "BPE":
    """Return a tokenizer whose merges are learned from the texts.

    The most frequent pair becomes a token, and again, until the vocabulary is full or every
    pre-token is one token: from little text, or none, comes a smaller vocabulary.
    Of pairs equally frequent the one with the smaller left id wins, then the smaller right id.
    Special tokens in the texts end a piece of text and teach nothing.

    Args:
        texts: The documents, in any order.
        vocab_size: How many ids there may be: 256 bytes, the merges and the special tokens.
        specials: Texts with an id of their own.

    Raises:
        TypeError: If `texts` is a single `str`, or holds something else.
        ValueError: If `vocab_size` has no room for the bytes and the special tokens, or the
            special tokens are refused by `BPE`.

    Examples:
        >>> tokenizer = train(["low lower lowest"], vocab_size=259, specials=())
        >>> [tokenizer.token_bytes(id) for id in range(256, 259)]
        [b'lo', b'low', b' low']

    Source:
        Sennrich et al. 2016, section 3.2; the choice among equals is that of Hugging Face's
        tokenizers 0.23, `models/bpe/trainer.rs`.
    """
    check_several(texts=texts)
    smallest = BPE((), specials).vocab_size
    room = f"at least {smallest}, for 256 bytes and {len(specials)} special tokens"
    check("vocab_size", vocab_size, vocab_size >= smallest, room)
    pieces = (piece for text in texts for piece in cut(text, specials)[::2])
    pairs = PairIndex(Counter(word for piece in pieces for word in pre_tokenize(piece)))
    merges: list[Pair] = []
    while len(merges) < vocab_size - smallest and (pair := pairs.most_frequent()):
        pairs.merge(pair, 256 + len(merges))
        merges.append(pair)
    return BPE(tuple(merges), specials)


def cut(text: str, specials: tuple[str, ...]) -> list[str]:
    """Cut a text at its special tokens: every second piece is one, perhaps after an empty piece."""
    utf8.encode(text)  # refuses what is no text
    if not specials:
        return [text]
    longest_first = sorted(specials, key=len, reverse=True)
    return regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text)


def encode(text: str, merges: Sequence[Pair]) -> list[int]:
    """Return the ids of a text by its merges, the earliest learned first: the plain way.

    `BPE.encode` gives the same, faster.

    Examples:
        >>> encode("abab abc", merges=[(97, 98), (256, 256)])
        [257, 32, 256, 99]

    Source:
        Sennrich et al. 2016, section 3.2.
    """
    new_ids = {pair: 256 + rank for rank, pair in enumerate(merges)}
    return [id for word in pre_tokenize(text) for id in replay(utf8.encode(word), new_ids)]


def replay(ids: list[int], new_ids: Mapping[Pair, int]) -> list[int]:
    """Return ids with the merges made, the earliest learned first."""
    while len(ids) > 1:
        earliest = min(pairwise(ids), key=lambda pair: new_ids.get(pair, inf))
        if earliest not in new_ids:
            break
        ids = merge(ids, earliest, new_ids[earliest])
    return ids


def _meet(pair: Pair, merges: Sequence[Pair], new_ids: Mapping[Pair, int]) -> bool:
    """Return whether the bytes of two tokens become these two, side by side.

    The merges that made them are undone at the cut, the last one first, as they might have been
    made: had a merge across the cut come earlier, it would have taken a part of one of them.
    """
    left, right = pair
    limit: float = inf  # merges from here on came too late to part the two
    while new_ids.get((left, right), inf) >= limit:
        if left >= 256 and left > right:
            limit, left = left, merges[left - 256][1]
        elif right >= 256:
            limit, right = right + 1, merges[right - 256][0]
        elif left >= 256:
            limit, left = left, merges[left - 256][1]
        else:
            return True
    return False


@dataclass(frozen=True)
class BPE:
    """A byte-pair tokenizer: its ids are 256 bytes, then the merges, then the special tokens.

    Args:
        merges: The pair behind each id from 256 on, in the order learned.
        specials: Texts with an id of their own.

    Raises:
        TypeError: If `merges` or `specials` is not a tuple.
        ValueError: If a merge joins ids that do not exist yet or makes a token that no text
            becomes, or if a special token is empty or occurs twice.

    Examples:
        >>> tokenizer = BPE(merges=((97, 98), (256, 99)))
        >>> tokenizer.encode("abcab")
        [257, 256]
        >>> tokenizer.decode([257, 256])
        'abcab'
    """

    merges: tuple[Pair, ...]
    specials: tuple[str, ...] = (END_OF_TEXT,)

    def __post_init__(self) -> None:
        if type(self.merges) is not tuple:
            raise TypeError(f"merges must be a tuple of pairs, got a {type(self.merges).__name__}")
        if type(self.specials) is not tuple:
            raise TypeError(f"specials must be a tuple of texts, got {self.specials!r}")
        whole = all(utf8.encode(special) for special in self.specials)
        differ = len(set(self.specials)) == len(self.specials)
        check("specials", self.specials, whole and differ, "different texts, none of them empty")
        for rank, pair in enumerate(self.merges):
            if not all(0 <= id < 256 + rank for id in pair):
                raise ValueError(f"merges[{rank}] must join ids below {256 + rank}, got {pair}")
        # tiktoken knows tokens by their bytes, not by their pairs: both agree if, and only if,
        # each token's bytes become that token.
        new_ids: dict[Pair, int] = {}
        for rank, pair in enumerate(self.merges):
            if not _meet(pair, self.merges, new_ids):
                raise ValueError(
                    f"merges[{rank}] can never happen after those before it, got {pair}"
                )
            new_ids[pair] = 256 + rank

    @cached_property
    def _tokens(self) -> tuple[bytes, ...]:
        tokens = [bytes([id]) for id in range(256)]
        for left, right in self.merges:
            tokens.append(tokens[left] + tokens[right])
        return (*tokens, *(bytes(utf8.encode(special)) for special in self.specials))

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return 256 + len(self.merges) + len(self.specials)

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`; a `ValueError` if that is not among the special tokens."""
        there = END_OF_TEXT in self.specials
        check("specials", self.specials, there, f"texts with {END_OF_TEXT} among them")
        return 256 + len(self.merges) + self.specials.index(END_OF_TEXT)

    @cached_property
    def tiktoken(self) -> Encoding:
        """The same tokenizer for the library tiktoken, which encodes fast.

        Of special tokens that begin alike tiktoken may take the shorter one; `encode` does not.
        """
        first_special = 256 + len(self.merges)
        return Encoding(
            f"gptspec-{self.vocab_size}",
            pat_str=PATTERN,
            mergeable_ranks={token: id for id, token in enumerate(self._tokens[:first_special])},
            special_tokens={token: first_special + i for i, token in enumerate(self.specials)},
        )

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Return the ids of a text.

        Args:
            text: Any text.
            specials: Whether special tokens in the text get their own ids; of several that begin
                at the same place, the longest does. Leave it off for text that others wrote, or
                they can end your documents.

        Raises:
            TypeError: If `text` is not a `str`.
            ValueError: If `text` holds half of a character, or a million spaces in a row, which
                is a limit of tiktoken.
        """
        ids: list[int] = []
        for place, piece in enumerate(cut(text, self.specials if specials else ())):
            if place % 2:
                ids.append(256 + len(self.merges) + self.specials.index(piece))
            else:
                # Not `encode_ordinary`: it panics where this raises a ValueError.
                ids += self.tiktoken.encode(piece, disallowed_special=())
        return ids

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of one token, perhaps only a part of a character.

        Raises:
            ValueError: If there is no such id.
        """
        check_ids([id], self.vocab_size)
        return self._tokens[id]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: If an id does not exist.
        """
        return utf8.decode(b"".join(self._tokens[id] for id in check_ids(ids, self.vocab_size)))

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON: the whole file, or none.

        Raises:
            OSError: If the file cannot be written.
        """
        files.write_json(path, KIND, {"merges": self.merges, "specials": self.specials})

    @classmethod
    def load(cls, path: Path) -> "BPE":
        """Return what `save` wrote.

        Raises:
            ValueError: If the file is missing, damaged, of another kind, or from a newer version.
        """
        content = files.read_json(path, KIND)
        try:
            merges = tuple((left, right) for left, right in content["merges"])
            check("specials", content["specials"], type(content["specials"]) is list, "a list")
            return cls(merges, tuple(content["specials"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a whole tokenizer: {error}") from error
