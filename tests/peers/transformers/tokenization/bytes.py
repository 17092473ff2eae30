"""Hugging Face transformers: `ByT5Tokenizer`, whose bytes follow three special tokens."""

from transformers import ByT5Tokenizer

DEVIATIONS = {
    "any-bytes-are-text": "transformers 5.23 drops what is not UTF-8",
    "damage-stays-local": "transformers 5.23 drops what is not UTF-8",
    "rejects-ids": "transformers 5.23 accepts it",
    "rejects-half-characters": "the message of transformers 5.23 is that of the codec",
    "rejects-other-types": "the message of transformers 5.23 says input, not text",
}

tokenizer = ByT5Tokenizer(extra_ids=0)


def encode(text):
    return [id - tokenizer.offset for id in tokenizer.encode(text, add_special_tokens=False)]


def decode(ids):
    return tokenizer.decode([id + tokenizer.offset for id in ids])
