"""nanoGPT's `CausalSelfAttention`."""

import model as theirs

from gptspec.attention import multihead
from gptspec_laws import adapt, gpt2_names, only


def build(d_in, d_out, *, n_heads, dropout=0.0, bias=False):
    only(locals(), d_in=d_out)
    sizes = {"n_embd": d_out, "n_head": n_heads, "block_size": 1100}
    return theirs.CausalSelfAttention(theirs.GPTConfig(**sizes, dropout=dropout, bias=bias))


names = gpt2_names("multihead")
MultiHeadAttention = adapt(multihead.MultiHeadAttention, build, weights=names, batch_axes=1)
