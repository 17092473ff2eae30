"""Hugging Face tokenizers: `DecodeStream`."""

from functools import lru_cache

from tokenizers.decoders import DecodeStream

from peers.tokenizers.tokenization.bpe import BPE

DEVIATIONS = {
    "pieces-are-the-text": (
        "DecodeStream of tokenizers 0.23 never gives out what it holds back",
        "assert '' == '�'",
    ),
}

convert = lru_cache(lambda merges, specials: BPE(merges, specials).tokenizer)


def pieces(ids, tokenizer):
    theirs = convert(tokenizer.merges, tokenizer.specials)
    stream = DecodeStream(skip_special_tokens=False)
    for id in ids:
        if piece := stream.step(theirs, id):
            yield piece
