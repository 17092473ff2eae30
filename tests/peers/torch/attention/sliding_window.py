"""PyTorch: `flex_attention`, whose masks and scores are functions of two places."""

from torch.nn.attention import flex_attention as flex

from peers.torch._masks import reads

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


def window_mask(query_time, key_time, window, *, device="cpu"):
    shape = 1, 1, query_time, key_time
    return flex.create_mask(reads(query_time, key_time, window), *shape, device=device)[0, 0]


def sliding_window_attention(queries, keys, values, *, window):
    if queries.requires_grad:
        raise NotImplementedError  # flex_attention has no gradients on CPUs
    times = queries.shape[-2], keys.shape[-2]
    mask = flex.create_block_mask(reads(*times, window), None, None, *times, device="cpu")
    heads = (x.reshape(1, -1, *x.shape[-2:]) for x in (queries, keys, values))
    mixes = flex.flex_attention(*heads, block_mask=mask)
    return mixes.view(*queries.shape[:-1], values.shape[-1])
