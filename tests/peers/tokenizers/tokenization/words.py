"""Hugging Face tokenizers: `WordLevel` after the pre-tokenizer `Whitespace`."""

from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import Whitespace

from peers.tokenizers._wrapped import Wrapped

DEVIATIONS = {
    "sorted": (
        "WordLevelTrainer of tokenizers 0.23 begins with the special tokens and the most frequent",
        "assert ",
    ),
    "words-and-marks": (
        "Whitespace of tokenizers 0.23 takes a run of marks for one piece",
        "assert ['🙂👩', '\\u200...'\\u200d', '👧'] == ['🙂', '👩'",
    ),
    "specials-on-request": (
        "Whitespace of tokenizers 0.23 joins a mark to the special token",
        "assert 1 == 0",
    ),
    "one-space-between": (
        "tokenizers 0.23 puts a space before every mark",
        "assert '<|unk|> ]' == '<|unk|>]'",
    ),
    "rejects-ids": (
        "tokenizers 0.23 leaves them out",
        "accepted what must be refused",
    ),
    "rejects-unusable-words": (
        "tokenizers 0.23 accepts it",
        "accepted what must be refused",
    ),
}

UNKNOWN = "<|unk|>"


def split(text):
    return [piece for piece, _ in Whitespace().pre_tokenize_str(text)]


def train(texts):
    return WordTokenizer(texts)


class WordTokenizer(Wrapped):
    def __init__(self, texts):
        self.tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        self.tokenizer.pre_tokenizer = Whitespace()
        trainer = trainers.WordLevelTrainer(
            vocab_size=2**31, show_progress=False, special_tokens=[UNKNOWN, "<|endoftext|>"]
        )
        self.tokenizer.train_from_iterator(texts, trainer)
