"""OpenAI's tiktoken: `Encoding`, which knows tokens by their bytes and learns none."""

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

DEVIATIONS = {
    "no-panic": (
        "encode_ordinary of tiktoken 0.14 panics where its pattern gives up",
        "PanicException",
    ),
    "one-merge-more": (
        "tiktoken 0.14 knows tokens by their bytes, not by their pairs",
        "assert [97, 97, 32, 97, 97, 32, ...] == [97, 97, 3",
    ),
    "rejects-unknown-ids": (
        "tiktoken 0.14 raises an OverflowError or a KeyError",
        "failed with OverflowError",
    ),
    "rejects-impossible-merges": (
        "tiktoken 0.14 accepts it",
        "accepted what must be refused",
    ),
    "rejects-specials": (
        "tiktoken 0.14 accepts it",
        "accepted what must be refused",
    ),
    "rejects-what-is-no-text": (
        "tiktoken 0.14 replaces half characters by U+FFFD",
        "accepted what must be refused",
    ),
}

END_OF_TEXT = "<|endoftext|>"


def encode(text, merges):
    return BPE(merges).encode(text)


class BPE:
    def __init__(self, merges, specials=(END_OF_TEXT,)):
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        self.encoding = tiktoken.Encoding(
            "merges",
            pat_str=r50k_pat_str,
            mergeable_ranks={token: id for id, token in enumerate(tokens)},
            special_tokens={special: id for id, special in enumerate(specials, len(tokens))},
        )

    @property
    def vocab_size(self):
        return self.encoding.n_vocab

    @property
    def end_of_text(self):
        return self.encoding.eot_token

    def encode(self, text, *, specials=False):
        if specials:
            return self.encoding.encode(text, allowed_special="all")
        return self.encoding.encode_ordinary(text)

    def decode(self, ids):
        return self.encoding.decode(list(ids))

    def token_bytes(self, id):
        return self.encoding.decode_single_token_bytes(id)

    def save(self, path):
        raise NotImplementedError  # tiktoken has a format of its own
