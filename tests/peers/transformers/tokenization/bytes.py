"""Hugging Face transformers: `ByT5Tokenizer`, whose bytes follow three special tokens."""

from transformers import ByT5Tokenizer

DEVIATIONS = {
    "any-bytes-are-text": (
        "transformers 5.23 drops what is not UTF-8",
        "assert ('' == '') == ([128] == []",
    ),
    "damage-stays-local": (
        "transformers 5.23 drops what is not UTF-8",
        "assert '' == '�'",
    ),
    "rejects-ids": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-half-characters": (
        "the message of transformers 5.23 is that of the codec",
        "the message does not mention",
    ),
    "rejects-other-types": (
        "the message of transformers 5.23 says input, not text",
        "the message does not mention",
    ),
}

tokenizer = ByT5Tokenizer(extra_ids=0)


def encode(text):
    return [id - tokenizer.offset for id in tokenizer.encode(text, add_special_tokens=False)]


def decode(ids):
    return tokenizer.decode([id + tokenizer.offset for id in ids])
