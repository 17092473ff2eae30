"""The `MultiHeadAttention` of chapter 3, whose output always has a bias, which here is none."""

from llms_from_scratch import ch03 as theirs

from gptspec.attention import multihead
from gptspec_laws import adapt


def build(d_in, d_out, *, n_heads, dropout=0.0, bias=False):
    made = theirs.MultiHeadAttention(d_in, d_out, 1100, dropout, n_heads, qkv_bias=bias)
    if not bias:
        made.out_proj.bias = None
    return made


names = {"query": "W_query", "key": "W_key", "value": "W_value", "output": "out_proj"}
MultiHeadAttention = adapt(multihead.MultiHeadAttention, build, weights=names, batch_axes=1)
