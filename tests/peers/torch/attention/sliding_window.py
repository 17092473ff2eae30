"""PyTorch: `flex_attention`, whose masks and scores are functions of two places."""

from torch.nn.attention import flex_attention as flex

DEVIATIONS = {
    "mask-is-the-window": (
        "PyTorch 2.13 makes no mask for no queries",
        "select(): index 0 out of range for tensor of size",
    ),
    "rejects-empty-window": (
        "PyTorch 2.13 accepts it",
        "accepted what must be refused",
    ),
    "rejects-more-queries-than-keys": (
        "PyTorch 2.13 accepts it",
        "accepted what must be refused",
    ),
}

flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True  # compiling takes seconds for each shape


def reads(query_time, key_time, window):
    first = key_time - query_time  # queries are the last positions
    return lambda batch, head, i, j: (j <= first + i) & (j > first + i - window)


def window_mask(query_time, key_time, window, *, device="cpu"):
    shape = 1, 1, query_time, key_time
    return flex.create_mask(reads(query_time, key_time, window), *shape, device=device)[0, 0]


def attend(queries, keys, values, *, window=None, bias=None, dropout=0.0):
    if dropout:
        raise NotImplementedError  # flex_attention has no dropout
    if queries.ndim == 3:
        return attend(queries[None], keys[None], values[None], window=window, bias=bias)[0]
    times = queries.shape[-2], keys.shape[-2]
    mask = flex.create_block_mask(
        reads(*times, window or times[1]), None, None, *times, device="cpu"
    )
    added = None if bias is None else lambda score, batch, head, i, j: score + bias[head, i, j]
    return flex.flex_attention(queries, keys, values, added, mask, enable_gqa=True)
