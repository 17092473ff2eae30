"""lucidrains' `LocalAttention` with an exact window, which counts the past alone.

It knows no cache, and values are as wide as keys: what asks for others is not offered.
"""

from local_attention import LocalAttention


def sliding_window_attention(queries, keys, values, *, window):
    time = queries.shape[-2]
    if keys.shape != queries.shape or values.shape != keys.shape:
        raise NotImplementedError
    past = (time if window is None else window) - 1
    read = LocalAttention(
        window_size=max(past, 1),
        look_backward=min(past, 1),
        causal=True,
        exact_windowsize=True,
        autopad=True,
    )
    return read(queries, keys, values)
