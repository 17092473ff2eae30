"""Hugging Face tokenizers: a vocabulary of bytes alone, by `byte_fallback`."""

from tokenizers import Tokenizer, decoders, models

DEVIATIONS = {
    "damage-stays-local": (
        "tokenizers 0.23 replaces every byte that stands beside a broken one",
        "assert '��������������' == '�Hello, world!'",
    ),
    "stream-is-whole": (
        "DecodeStream of tokenizers 0.23 never gives out what it holds back",
        "assert '' == '�'",
    ),
    "rejects-ids": (
        "tokenizers 0.23 leaves them out, or raises an OverflowError",
        "failed with OverflowError",
    ),
    "rejects-half-characters": (
        "tokenizers 0.23 says TextInputSequence",
        "the message does not mention",
    ),
    "rejects-other-types": (
        "tokenizers 0.23 says TextInputSequence",
        "the message does not mention",
    ),
}

tokenizer = Tokenizer(
    models.BPE({f"<0x{byte:02X}>": byte for byte in range(256)}, [], byte_fallback=True)
)
tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])


def encode(text):
    return tokenizer.encode(text).ids


def decode(ids):
    return tokenizer.decode(list(ids))


class StreamDecoder:
    def __init__(self):
        self.stream = decoders.DecodeStream()

    def feed(self, token_bytes):
        return "".join(self.stream.step(tokenizer, id) or "" for id in token_bytes)

    def finish(self):
        return ""  # the library has no way to ask for what is held back
