"""LitGPT's `CausalSelfAttention` with its `KVCache`, its masks and its rotation.

It adds no bias to scores, and refuses chunks longer than the window: such examples are not judged.
"""

import torch
from litgpt.config import Config
from litgpt.model import CausalSelfAttention, build_mask_cache, build_rope_cache
from torch.func import functional_call

from peers.fitting import Projections, in_one_batch

DEVIATIONS = {
    "cached-is-full": (
        "with a window, a chunk of LitGPT 0.5.13 that wraps around its ring of keys "
        "overwrites the past and is read as such: tokens see those after them",
        "Tensor-likes are not close",
    ),
    "cache-has-the-window": (
        "a cache of LitGPT 0.5.13 has its length from the start",
        "assert ",
    ),
    "positions-as-by-hand": (
        "LitGPT 0.5.13 rounds frequencies, sines and cosines to float32",
        1e-06,
    ),
    "rejects-shape": (
        "LitGPT 0.5.13 accepts a width of 0",
        "accepted what must be refused",
    ),
}


LONGEST = 1200


class Memory:
    def __init__(self, peer):
        self.peer = peer
        self.time = 0

    def __len__(self):
        return self.time


class Attention(Projections):
    def __init__(
        self, d_model, *, n_heads, n_kv_heads=None, window=None, dropout=0.0, bias=True
    ):  # fmt: skip
        if dropout:
            raise NotImplementedError
        self.n_heads, self.window = n_heads, window
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        self.settings = Config(
            block_size=LONGEST,
            n_layer=1,
            n_embd=d_model,
            n_head=n_heads,
            n_query_groups=n_kv_heads,
            rotary_percentage=1.0,
            bias=bias,
            sliding_window_size=window,
            sliding_window_indices=None if window is None else [1],
        )
        d_kv = d_model // n_heads * n_kv_heads
        super().__init__(d_model, d_model, d_kv=d_kv, bias=bias)
        # In a tuple, or its weights would count as this module's.
        self.peer = (CausalSelfAttention(self.settings, block_idx=0),)

    def new_cache(self):
        return Memory(CausalSelfAttention(self.settings, block_idx=0))

    def forward(self, x, *, rotate=None, score_bias=None, cache=None):
        if score_bias is not None:
            raise NotImplementedError
        if cache is not None and x.requires_grad:
            raise NotImplementedError  # its cache is for inference
        with x.device:
            return self.read(x, rotate, cache)

    def read(self, x, rotate, cache):
        weights = self.lend(qkv="query+key+value", proj="output")
        d_head, time = self.settings.head_size, x.shape[-2]
        if rotate is None:
            cos, sin = x.new_ones(LONGEST, d_head), x.new_zeros(LONGEST, d_head)
        elif not hasattr(rotate, "keywords"):
            raise NotImplementedError  # a turn that is no rotation by a base
        else:
            cos, sin = build_rope_cache(LONGEST, d_head, base=rotate.keywords["theta"])
        if cache is None:
            (peer,) = self.peer
            arguments = cos[None, :time], sin[None, :time]
        else:
            if time > (self.settings.sliding_window_size or LONGEST):
                raise NotImplementedError
            peer = cache.peer
            if peer.kv_cache is None:
                batch = x.shape[:-2].numel()
                peer.kv_cache = peer.build_kv_cache(batch, LONGEST, dtype=x.dtype)
            places = torch.arange(cache.time, cache.time + time)
            mask = build_mask_cache(LONGEST)[:, :, places]
            arguments = cos[None, places], sin[None, places], mask, places
            cache.time += time
        return in_one_batch(lambda x: functional_call(peer, weights, (x, *arguments)), x)
