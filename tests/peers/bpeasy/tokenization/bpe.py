"""bpeasy with GPT-2's rule; the pairs behind its tokens are found from their ranks."""

from bpeasy import train_bpe_stream
from bpeasy.tokenizer import BPEasyTokenizer
from tiktoken_ext.openai_public import r50k_pat_str

from peers.fitting import pairs_behind

DEVIATIONS = {
    "specials-teach-nothing": (
        "bpeasy 0.1.6 learns from special tokens as from any text",
        "assert ",
    ),
    "rejects-small-vocabularies": (
        "the message of bpeasy 0.1.6 does not tell the size",
        "the message does not mention",
    ),
}


class Trained(BPEasyTokenizer):
    def __init__(self, ranks, specials):
        super().__init__(ranks, r50k_pat_str, list(specials))
        self.specials = specials

    @property
    def merges(self):
        return pairs_behind(self.vocab)

    @property
    def vocab_size(self):
        return len(self.vocab) + len(self.specials)

    @property
    def end_of_text(self):
        return len(self.vocab) + self.specials.index("<|endoftext|>")

    def encode(self, text, *, specials=False):
        if specials:
            return super().encode(text, allowed_special="all")
        return super().encode(text, disallowed_special=())

    def token_bytes(self, id):
        return self._encoder.decode_single_token_bytes(id)

    def save(self, path):
        raise NotImplementedError

    def __eq__(self, other):
        return self.vocab == other.vocab and self.specials == other.specials

    __hash__ = None


def train(texts, vocab_size, *, specials=("<|endoftext|>",)):
    ranks = train_bpe_stream(iter(texts), r50k_pat_str, 1000, vocab_size - len(specials), 100)
    return Trained(ranks, specials)
