"""Hugging Face transformers: `TextStreamer`."""

import torch
from transformers import TextStreamer

DEVIATIONS = {
    "characters-come-whole-and-at-once": (
        "transformers 5.23 holds a word back until its space",
        "assert ' ' == ' c'",
    ),
}


def pieces(ids, tokenizer):
    told = []
    streamer = TextStreamer(tokenizer)
    streamer.on_finalized_text = lambda text, stream_end=False: told.append(text)
    for id in ids:
        streamer.put(torch.tensor([id]))
        yield from filter(None, told)
        told.clear()
    streamer.end()
    yield from filter(None, told)
