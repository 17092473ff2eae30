"""The book's names for a `Tokenizer` of Hugging Face tokenizers."""


class Wrapped:
    """Offers what `self.tokenizer` does."""

    @property
    def vocab_size(self):
        return self.tokenizer.get_vocab_size()

    def encode(self, text, *, specials=False):
        self.tokenizer.encode_special_tokens = not specials
        return self.tokenizer.encode(text).ids

    def decode(self, ids):
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)
