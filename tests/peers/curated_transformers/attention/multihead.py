"""curated-transformers' `SelfAttention` with as many heads of keys as of queries."""

from curated_transformers.layers import attention

from peers.curated_transformers.attention.grouped_query import GroupedQueryAttention

DEVIATIONS = {
    "kernel-is-the-formula": (
        "in training, the way of curated-transformers 2.0.1 through PyTorch's kernel asks for "
        "an attribute that is not there, dropout_prob",
        "'ScaledDotProductAttention' object has no attribut",
    ),
    "dropout-keeps-the-expectation": (
        "curated-transformers 2.0.1 drops parts of the mixes, not of the weights",
        2.0,
    ),
    "formula-never-drops": (
        "in training, the way of curated-transformers 2.0.1 through PyTorch's kernel asks for "
        "an attribute that is not there, dropout_prob",
        "'ScaledDotProductAttention' object has no attribut",
    ),
    "rejects-heads-that-do-not-divide": (
        "curated-transformers 2.0.1 says it in other words",
        "the message does not mention",
    ),
    "rejects-sizes": (
        "curated-transformers 2.0.1 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "curated-transformers 2.0.1 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(GroupedQueryAttention):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__(
            d_in, d_out, n_heads=n_heads, n_kv_heads=n_heads, dropout=dropout, bias=bias
        )


def split_heads(x, n_heads):
    heads = attention.split_heads(x.reshape(x.shape[:-2].numel(), *x.shape[-2:]), n_heads)
    return heads.view(*x.shape[:-2], *heads.shape[1:])


def merge_heads(x):
    merged = attention.combine_heads(x.reshape(x.shape[:-3].numel(), *x.shape[-3:]))
    return merged.view(*x.shape[:-3], *merged.shape[1:])
