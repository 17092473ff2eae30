"""Sliding window: each position reads itself and a fixed number of those before it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gptspec.positions.relative import distances


def window_mask(
    query_time: int, key_time: int, window: int, *, device: torch.device | str | None = None
) -> Bool[Tensor, "query_time key_time"]:
    """Return which keys (columns) each query (row) may read: itself and `window - 1` before it.

    Args:
        query_time: Number of queries, the last positions of the text.
        key_time: Number of keys.
        window: How many keys a query reads at most; `key_time` or more hides the future only.
        device: Where the mask shall be; the default device if None.

    Raises:
        ValueError: If `window` is below 1, or there are more queries than keys.

    Examples:
        Two new tokens after two old ones, in a window of three.

        >>> window_mask(2, 4, window=3)
        tensor([[ True,  True,  True, False],
                [False,  True,  True,  True]])
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}; a token reads at least itself")
    distance = distances(query_time, key_time, device=device)
    return (-window < distance) & (distance <= 0)


def attend(
    queries: Float[Tensor, "*batch heads query_time d_head"],
    keys: Float[Tensor, "*batch kv_heads key_time d_head"],
    values: Float[Tensor, "*batch kv_heads key_time d_head"],
    *,
    window: int | None = None,
    bias: Float[Tensor, "heads query_time key_time"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*batch heads query_time d_head"]:
    """Return what each query reads from the past in its window, through one kernel.

    Args:
        queries: Of the last positions of the text, in heads.
        keys: Of all positions, in as many heads or fewer.
        values: Of all positions.
        window: As in `window_mask`; None for the whole past.
        bias: Added to the scores.
        dropout: Share of the weights that are set to zero.

    Raises:
        ValueError: If `window` is below 1, or there are more queries than keys.

    Examples:
        A query that prefers nothing reads its window evenly.

        >>> values = torch.tensor([[[3.0], [5.0], [7.0]]])
        >>> attend(torch.zeros(1, 3, 1), torch.zeros(1, 3, 1), values, window=2).squeeze(0)
        tensor([[3.],
                [4.],
                [6.]])

    Source:
        Child et al. 2019; Jiang et al. 2023, section 2.
    """
    query_time, key_time = queries.shape[-2], keys.shape[-2]
    window = max(key_time, 1) if window is None else window  # a text may be empty, a window not
    mask = None
    # A square of the whole past is the kernel's own mask; a single query, the last, has no future.
    alone = query_time == 1 <= key_time
    if bias is not None or window < key_time or not (alone or query_time == key_time):
        mask = window_mask(query_time, key_time, window, device=queries.device)
    if mask is not None and bias is not None:
        mask = bias.masked_fill(~mask, -math.inf)
        # As many axes as the queries have: the kernel is several times slower with fewer.
        mask = mask.expand(*queries.shape[:-3], *mask.shape)
    return F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        dropout_p=dropout,
        # What a compiler compares are symbols: `all` makes a plain bool of them.
        is_causal=all([mask is None, query_time == key_time]),
        enable_gqa=queries.shape[-3] != keys.shape[-3],
    )
