"""Words as tokens: text becomes a list of numbers, and the numbers become text again."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gptspec.checks import check, check_ids, check_several, check_text

UNKNOWN = "<|unk|>"
END_OF_TEXT = "<|endoftext|>"
SPECIALS = (UNKNOWN, END_OF_TEXT)

PIECE = re.compile(r"\w+|[^\w\s]")
SPECIAL_OR_PIECE = re.compile("|".join([*map(re.escape, SPECIALS), PIECE.pattern]))


def split(text: str, *, specials: bool = False) -> list[str]:
    """Return the words and the punctuation marks of a text, in order, without white space.

    A word is a run of letters, digits and underscores. Any other character but white space stands
    alone.

    Args:
        text: Any text.
        specials: Whether `<|unk|>` and `<|endoftext|>` in the text are pieces of their own.

    Raises:
        TypeError: If `text` is not a `str`.

    Examples:
        >>> split("Hello, world!")
        ['Hello', ',', 'world', '!']
        >>> split("The end.<|endoftext|>", specials=True)
        ['The', 'end', '.', '<|endoftext|>']
    """
    check_text(text=text)
    pattern = SPECIAL_OR_PIECE if specials else PIECE
    return pattern.findall(text)


def join(documents: Iterable[str]) -> str:
    """Return several documents as one text, with one `<|endoftext|>` between two neighbours.

    Raises:
        TypeError: If `documents` is a single `str`.
        ValueError: If a document contains a special token, which would pass for a real one.

    Examples:
        >>> join(["One.", "Two."])
        'One.<|endoftext|>Two.'
    """
    check_several(documents=documents)
    documents = list(documents)
    for index, document in enumerate(documents):
        for special in SPECIALS:
            if special in document:
                raise ValueError(
                    f"documents[{index}] contains {special}: encode each document by itself instead"
                )
    return END_OF_TEXT.join(documents)


class WordTokenizer:
    """Numbers for words: a word's place in the vocabulary is its id.

    The special tokens follow the words: `unknown` and `end_of_text` are their ids.

    Args:
        words: What `split` can return, each once.

    Raises:
        TypeError: If `words` is a single `str`.
        ValueError: If a word occurs twice, or is one that `split` never returns.

    Examples:
        >>> tokenizer = WordTokenizer(["cat", "sat", "the"])
        >>> tokenizer.encode("the cat sat")
        [2, 0, 1]
        >>> tokenizer.encode("the dog sat")
        [2, 3, 1]
        >>> tokenizer.decode([2, 3, 1])
        'the <|unk|> sat'
    """

    def __init__(self, words: Sequence[str]) -> None:
        check_several(words=words)
        for word in words:
            check("words", word, split(word) == [word], "what `split` returns")
        twice = [word for word, count in Counter(words).items() if count > 1]
        check("words", twice, not twice, "different")
        self.tokens = (*words, *SPECIALS)
        self._ids = {token: id for id, token in enumerate(self.tokens)}
        self.unknown = self._ids[UNKNOWN]
        self.end_of_text = self._ids[END_OF_TEXT]

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, the special ones included."""
        return len(self.tokens)

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Return the id of each word and mark; a word outside the vocabulary has that of `<|unk|>`.

        Args:
            text: Any text.
            specials: Whether special tokens in the text get their own ids. Leave it off for text
                that others wrote, or they can end your documents.
        """
        return [self._ids.get(piece, self.unknown) for piece in split(text, specials=specials)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the tokens' text: a space between two tokens, none before closing punctuation.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        text = " ".join(self.tokens[id] for id in check_ids(ids, self.vocab_size))
        return re.sub(r" ([.,:;!?)\]}])", r"\1", text)


def train(texts: Iterable[str]) -> WordTokenizer:
    """Return a tokenizer that knows every word of the texts, sorted.

    Raises:
        TypeError: If `texts` is a single `str`.

    Examples:
        >>> tokenizer = train(["the cat sat", "the dog sat"])
        >>> tokenizer.tokens
        ('cat', 'dog', 'sat', 'the', '<|unk|>', '<|endoftext|>')
    """
    check_several(texts=texts)
    return WordTokenizer(sorted({word for text in texts for word in split(text)}))
