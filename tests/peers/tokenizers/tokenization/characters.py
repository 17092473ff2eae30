"""Hugging Face tokenizers: `WordLevel` after a `Split` at every character."""

from tokenizers import Regex, Tokenizer, decoders, models, trainers
from tokenizers.pre_tokenizers import Split

from peers.tokenizers._wrapped import Wrapped

DEVIATIONS = {
    "sorted": (
        "WordLevelTrainer of tokenizers 0.23 begins with the special tokens and the most frequent",
        "assert ",
    ),
    "unknown-is-refused": (
        "tokenizers 0.23 says that the unknown token is missing",
        "failed with Exception",
    ),
    "rejects-ids": (
        "tokenizers 0.23 leaves them out",
        "accepted what must be refused",
    ),
    "rejects-repeated-characters": (
        "tokenizers 0.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-other-policies": (
        "tokenizers 0.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "tokenizers 0.23 says TextInputSequence",
        "the message does not mention",
    ),
}

UNKNOWN = "<|unk|>"


def train(texts, *, unknown="error"):
    specials = [UNKNOWN, "<|endoftext|>"] if unknown == "replace" else ["<|endoftext|>"]
    trainer = trainers.WordLevelTrainer(
        vocab_size=2**31, show_progress=False, special_tokens=specials
    )
    characters = CharacterTokenizer("", unknown=unknown)
    characters.tokenizer.train_from_iterator(texts, trainer)
    return characters


class CharacterTokenizer(Wrapped):
    def __init__(self, alphabet, *, unknown="error"):
        vocab = {character: id for id, character in enumerate(alphabet)}
        unknown = {"unk_token": UNKNOWN} if unknown == "replace" else {}
        self.tokenizer = Tokenizer(models.WordLevel(vocab, **unknown))
        self.tokenizer.pre_tokenizer = Split(Regex("(?m:.)"), "isolated")
        self.tokenizer.decoder = decoders.Fuse()
