"""Karpathy's rustbpe with GPT-2's rule; the pairs behind its tokens are found from their ranks."""

from dataclasses import dataclass, field

from rustbpe import Tokenizer
from tiktoken_ext.openai_public import r50k_pat_str

from peers.fitting import pairs_behind

DEVIATIONS = {
    "specials-teach-nothing": (
        "rustbpe 0.1.0 learns from special tokens as from any text",
        "assert ",
    ),
    "rejects-small-vocabularies": (
        "Rust panics in rustbpe 0.1.0",
        "failed with RuntimeError",
    ),
}


@dataclass
class Trained:
    peer: Tokenizer = field(compare=False)
    ranks: dict[bytes, int]
    specials: tuple[str, ...]

    @property
    def merges(self):
        return pairs_behind(self.ranks)

    @property
    def vocab_size(self):
        return self.peer.vocab_size + len(self.specials)

    @property
    def end_of_text(self):
        raise NotImplementedError

    def encode(self, text, *, specials=False):
        if specials:
            raise NotImplementedError
        return self.peer.encode(text)

    def decode(self, ids):
        return self.peer.decode(ids)

    def token_bytes(self, id):
        return bytes(self.peer.get_mergeable_ranks()[id][0])

    def save(self, path):
        raise NotImplementedError


def train(texts, vocab_size, *, specials=("<|endoftext|>",)):
    peer = Tokenizer()
    try:
        peer.train_from_iterator(texts, vocab_size - len(specials), pattern=r50k_pat_str)
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        raise RuntimeError(f"Rust panicked: {panic}") from panic  # a panic is no Exception
    ranks = {bytes(token): rank for token, rank in peer.get_mergeable_ranks()}
    return Trained(peer, ranks, specials)
