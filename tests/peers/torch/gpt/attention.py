"""PyTorch: `flex_attention`, whose masks and scores are functions of two places."""

from torch.nn.attention import flex_attention as flex

from peers.torch._masks import reads

DEVIATIONS = {
    "last-queries-are-last-rows": (
        "PyTorch 2.13 makes no mask for no queries",
        "select(): index 0 out of range for tensor of size",
    ),
    "rejects-more-queries-than-keys": (
        "PyTorch 2.13 raises an IndexError where there are no keys, and accepts the rest",
        "failed with IndexError",
    ),
}


def attend(queries, keys, values, *, window=None, score_bias=None, dropout=0.0):
    if dropout or queries.requires_grad:
        raise NotImplementedError  # flex_attention has no dropout, and no gradients on CPUs
    if queries.ndim == 3:
        more = {"window": window, "score_bias": score_bias}
        return attend(queries[None], keys[None], values[None], **more)[0]
    times = queries.shape[-2], keys.shape[-2]
    mask = flex.create_block_mask(reads(*times, window), None, None, *times, device="cpu")
    added = None
    if score_bias is not None:
        added = lambda score, batch, head, i, j: score + score_bias[head, i, j]  # noqa: E731
    return flex.flex_attention(queries, keys, values, added, mask, enable_gqa=True)
