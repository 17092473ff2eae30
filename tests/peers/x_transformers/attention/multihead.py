"""x-transformers' `Attention` with as many heads of keys as of queries."""

from peers.x_transformers.attention.grouped_query import GroupedQueryAttention

DEVIATIONS = {
    "rejects-heads-that-do-not-divide": (
        "x-transformers 2.31.10 is given the width of a head",
        "failed with ZeroDivisionError",
    ),
    "rejects-sizes": (
        "x-transformers 2.31.10 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "x-transformers 2.31.10 accepts a share of 1",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(GroupedQueryAttention):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__(
            d_in, d_out, n_heads=n_heads, n_kv_heads=n_heads, dropout=dropout, bias=bias
        )
