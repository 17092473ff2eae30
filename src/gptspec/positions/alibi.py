"""ALiBi: each head subtracts a fixed price per step of distance from its scores."""

import torch
from jaxtyping import Float
from torch import Tensor

from gptspec.checks import check_at_least
from gptspec.positions.relative import distances


def slopes(
    n_heads: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "heads"]:
    """Return the price of a step for each head: a geometric series from `2 ** (-8 / n_heads)`.

    If `n_heads` is no power of two, the largest one below it has its own series, and the
    remaining heads get prices that it lacks: every other one of twice as many heads.

    Args:
        n_heads: Number of heads.
        dtype: Floating type of the result; the default type if None.
        device: Where the result shall be; the default device if None.

    Raises:
        ValueError: If `n_heads` is below 1.

    Examples:
        >>> slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]
        >>> slopes(6).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]

    Source:
        Press et al. 2022, section 3; other head counts as in the authors' code,
        fairseq/models/transformer.py.
    """
    check_at_least(1, n_heads=n_heads)
    power = 1 << (n_heads.bit_length() - 1)
    halves = [*range(2, 2 * power + 1, 2), *range(1, 2 * (n_heads - power), 2)]
    prices = [2 ** (-4 * half / power) for half in halves]
    return torch.tensor(prices, dtype=dtype or torch.get_default_dtype(), device=device)


def alibi(
    n_heads: int,
    query_time: int,
    key_time: int,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "heads query_time key_time"]:
    """Return what each head adds to the score of each query (row) and key (column): 0 or less.

    Fewer queries than keys are the last positions of the text. A key ahead is as far as one
    as many steps behind; a model that reads only the past hides it anyway.

    Args:
        n_heads: Number of heads, each with its own slope.
        query_time: Number of queries, the last positions of the text.
        key_time: Number of keys.
        dtype: Floating type of the result; the default type if None.
        device: Where the result shall be; the default device if None.

    Raises:
        ValueError: If `n_heads` is below 1, or there are more queries than keys.

    Examples:
        >>> alibi(n_heads=8, query_time=2, key_time=4)[0]  # half a point per step
        tensor([[-1.0000, -0.5000,  0.0000, -0.5000],
                [-1.5000, -1.0000, -0.5000,  0.0000]])

    Source:
        Press et al. 2022, section 3.
    """
    # float64 on the CPU: products first, then rounded once, to a type that may be small.
    prices = slopes(n_heads, dtype=torch.float64, device="cpu")
    steps = -torch.arange(key_time, device="cpu")
    by_distance = (prices[:, None] * steps).to(
        device=device or torch.get_default_device(), dtype=dtype or torch.get_default_dtype()
    )
    return by_distance[:, distances(query_time, key_time, device=by_distance.device).abs()]
