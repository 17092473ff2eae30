"""x-transformers' `AlibiPositionalBias`, kept from call to call as a model keeps it.

Texts of no tokens are not judged.
"""

from functools import cache

from peers.x_transformers._quiet import library

DEVIATIONS = {
    "tables-belong-to-the-caller": (
        "x-transformers 2.31.10 hands out the tables that it keeps",
        100.0,
    ),
    "rejects-no-heads": (
        "x-transformers 2.31.10 raises a math domain error",
        "the message does not mention",
    ),
    "rejects-more-queries-than-keys": (
        "x-transformers 2.31.10 gives the queries too many positions below 0",
        "failed with AxisSizeError",
    ),
}


kept = cache(library.AlibiPositionalBias)


def slopes(n_heads, **where):
    if where:
        raise NotImplementedError
    return kept(n_heads).slopes.flatten()


def alibi(n_heads, query_time, key_time, **where):
    if where:
        raise NotImplementedError
    if not query_time:
        raise NotImplementedError
    return kept(n_heads)(query_time, key_time)
