"""OpenAI's tiktoken: an `Encoding` whose tokens are the bytes alone."""

import tiktoken

DEVIATIONS = {
    "rejects-ids": (
        "tiktoken 0.14 raises an OverflowError or a KeyError",
        "failed with OverflowError",
    ),
    "rejects-half-characters": (
        "tiktoken 0.14 replaces them by U+FFFD",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "the message of tiktoken 0.14 does not say text",
        "the message does not mention",
    ),
}

encoding = tiktoken.Encoding(
    "bytes",
    pat_str="(?s:.)",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={},
)
encode = encoding.encode


def decode(ids):
    return encoding.decode(list(ids))
