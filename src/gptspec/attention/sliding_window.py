"""Sliding window: each position reads itself and a fixed number of those before it."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gptspec.checks import check_at_least
from gptspec.positions.relative import distances


def window_mask(
    query_time: int,
    key_time: int,
    window: int | None,
    *,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "query_time key_time"]:
    """Return which keys (columns) each query (row) may read: itself and `window - 1` before it.

    Args:
        query_time: Number of queries, the last positions of the text.
        key_time: Number of keys.
        window: How many keys a query reads at most; None for the whole past.
        device: Where the mask shall be; the default device if None.

    Raises:
        ValueError: If `window` is below 1, or there are more queries than keys.

    Examples:
        Two new tokens after two old ones, in a window of three.

        >>> window_mask(2, 4, window=3)
        tensor([[ True,  True,  True, False],
                [False,  True,  True,  True]])
    """
    if window is not None:
        check_at_least(1, window=window)  # a token reads at least itself
    distance = distances(query_time, key_time, device=device)
    past = distance <= 0
    return past if window is None else past & (distance > -window)


def sliding_window_attention(
    queries: Float[Tensor, "*batch query_time d_head"],
    keys: Float[Tensor, "*batch key_time d_head"],
    values: Float[Tensor, "*batch key_time d_value"],
    *,
    window: int | None,
) -> Float[Tensor, "*batch query_time d_value"]:
    """Return what each query reads from the past in its window, written as the formula is.

    Args:
        queries: Of the last positions of the text.
        keys: Of all positions.
        values: Of all positions.
        window: As in `window_mask`.

    Raises:
        ValueError: If `window` is below 1, or there are more queries than keys.

    Examples:
        A query that prefers nothing reads its window evenly.

        >>> values = torch.tensor([[3.0], [5.0], [7.0]])
        >>> sliding_window_attention(torch.zeros(3, 1), torch.zeros(3, 1), values, window=2)
        tensor([[3.],
                [4.],
                [6.]])

    Source:
        Child et al. 2019; Jiang et al. 2023, section 2.
    """
    (query_time, d_head), key_time = queries.shape[-2:], keys.shape[-2]
    scores = queries @ keys.mT / math.sqrt(d_head)
    mask = window_mask(query_time, key_time, window, device=scores.device)
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ values
