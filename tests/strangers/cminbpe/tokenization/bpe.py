"""cminbpe's `RegexTokenizer`, with GPT-2's pattern."""

from cminbpe import RegexTokenizer
from cminbpe.regex import GPT2_SPLIT_PATTERN as PATTERN


class BPE:
    def __init__(self, merges, specials=()):
        self.theirs, self.merges, self.specials = RegexTokenizer(PATTERN), tuple(merges), specials
        self.theirs.merges = {pair: 256 + at for at, pair in enumerate(merges)}
        ids = {special: 256 + len(merges) + at for at, special in enumerate(specials)}
        self.theirs.register_special_tokens(ids)
        self.theirs._build_vocab()

    def encode(self, text, *, specials=False):
        return self.theirs.encode(text, allowed_special="all" if specials else "none")

    def decode(self, ids):
        return self.theirs.decode(list(ids))
