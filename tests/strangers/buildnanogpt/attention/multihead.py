"""buildNanoGPT's `CausalSelfAttention`, which always has biases and no dropout."""

from buildNanoGPT import model as theirs

from gptspec.attention import multihead
from gptspec_laws import adapt, gpt2_names, only


def build(d_in, d_out, *, n_heads, dropout=0.0, bias=False):
    only(locals(), d_in=d_out, dropout=0.0, bias=True)
    return theirs.CausalSelfAttention(theirs.GPTConfig(n_embd=d_out, n_head=n_heads))


names = gpt2_names("multihead")
MultiHeadAttention = adapt(multihead.MultiHeadAttention, build, weights=names, batch_axes=1)
