"""Relative positions: what counts between two tokens is how far apart they stand.

A distance is the key's position minus the query's: negative looks back, positive ahead.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gptspec.checks import check, check_at_least


def distances(
    query_time: int, key_time: int, *, device: torch.device | str | None = None
) -> Int[Tensor, "query_time key_time"]:
    """Return the distance from each query (row) to each key (column).

    Fewer queries than keys are the last positions of the text: the tokens that are new
    while the keys of those before them are kept.

    Raises:
        ValueError: If `query_time` is negative or above `key_time`.

    Examples:
        >>> distances(2, 4)
        tensor([[-2, -1,  0,  1],
                [-3, -2, -1,  0]])
    """
    fits = 0 <= query_time <= key_time
    check("query_time", query_time, fits, f"from 0 to key_time={key_time}, as the last of the keys")
    keys = torch.arange(key_time, device=device)
    queries = keys[key_time - query_time :]
    return keys - queries[:, None]


def _near_buckets(n_buckets: int, max_distance: int, *, causal: bool) -> int:
    """Return how many of one direction's buckets hold a single distance: half of them."""
    fits = n_buckets >= 2 if causal else n_buckets >= 4 and n_buckets % 2 == 0
    check("n_buckets", n_buckets, fits, "at least 2, or even and at least 4 if not causal")
    n_near = n_buckets // 2 if causal else n_buckets // 4
    check("max_distance", max_distance, max_distance > n_near, f"above {n_near}")
    return n_near


def bucket(
    distance: Int[Tensor, "*shape"], *, n_buckets: int, max_distance: int, causal: bool
) -> Int[Tensor, "*shape"]:
    """Return the bucket of each distance: one each when near, wider and wider when far.

    Args:
        distance: Position of the key minus position of the query.
        n_buckets: Number of buckets, in both directions together.
        max_distance: From here on, all distances share the last bucket of their direction.
        causal: Whether keys ahead are never read. They then fall into bucket 0, and the past
            has all buckets; otherwise past and future have half of the buckets each.

    Raises:
        ValueError: If `n_buckets` or `max_distance` is too small, or `n_buckets` is odd and
            not causal.

    Examples:
        >>> back = torch.tensor([0, -1, -2, -3, -4, -5, -6, -8, -11, -16, -100])
        >>> bucket(back, n_buckets=8, max_distance=16, causal=True)
        tensor([0, 1, 2, 3, 4, 4, 5, 6, 6, 7, 7])

    Source:
        Raffel et al. 2020, section 2.1; rounding as in transformers, `modeling_t5.py`.
    """
    n_near = _near_buckets(n_buckets, max_distance, causal=causal)
    if causal:
        first, steps = torch.zeros_like(distance), (-distance).clamp(min=0)
    else:
        n_buckets //= 2
        first, steps = (distance > 0) * n_buckets, distance.abs()
    # float32 whatever the default: at a bucket's edge the rounding decides, and it must be T5's.
    growth = (steps.clamp(min=n_near).float() / n_near).log() / math.log(max_distance / n_near)
    far = n_near + (growth * (n_buckets - n_near)).long()
    return first + torch.where(steps < n_near, steps, far.clamp(max=n_buckets - 1))


class RelativeBias(nn.Module):
    """A trainable number per head and bucket of distance, to be added to attention scores.

    Args:
        n_heads: Number of heads, each with its own numbers.
        n_buckets: Number of buckets, as in `bucket`.
        max_distance: Where the last bucket begins at the latest, as in `bucket`.
        causal: Whether keys ahead are never read, as in `bucket`.

    Attributes:
        weight: A row for each bucket of distances, a column for each head; all zeros at first.

    Raises:
        ValueError: If `n_heads` is below 1, or the buckets cannot be laid out.

    Examples:
        One head that likes the token before its own.

        >>> bias = RelativeBias(n_heads=1, n_buckets=4, max_distance=8)
        >>> bias.weight.data = torch.tensor([[0.0], [1.0], [0.5], [0.0]])
        >>> bias(3, 3).tolist()
        [[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 1.0, 0.0]]]
    """

    def __init__(
        self, n_heads: int, *, n_buckets: int = 32, max_distance: int = 128, causal: bool = True
    ) -> None:
        super().__init__()
        check_at_least(1, n_heads=n_heads)
        _near_buckets(n_buckets, max_distance, causal=causal)
        self.n_buckets, self.max_distance, self.causal = n_buckets, max_distance, causal
        self.weight = nn.Parameter(torch.zeros(n_buckets, n_heads))

    def forward(self, query_time: int, key_time: int) -> Float[Tensor, "heads query_time key_time"]:
        """Return the bias between each query and each key; the queries are the last positions."""
        ids = bucket(
            distances(query_time, key_time, device=self.weight.device),
            n_buckets=self.n_buckets,
            max_distance=self.max_distance,
            causal=self.causal,
        )
        return self.weight[ids].permute(2, 0, 1)


def clipped_embeddings(
    table: Float[Tensor, "rows d_head"], query_time: int, key_time: int
) -> Float[Tensor, "query_time key_time d_head"]:
    """Return a vector for each query and key, by their distance clipped to what the table holds.

    Args:
        table: Vectors of the distances -k to k, in this order: 2 k + 1 rows.
        query_time: Number of queries, the last positions of the text.
        key_time: Number of keys.

    Raises:
        ValueError: If the number of rows is even, or there are more queries than keys.

    Examples:
        >>> table = torch.tensor([[-1.0], [0.0], [1.0]])
        >>> clipped_embeddings(table, 3, 3).squeeze(-1)
        tensor([[ 0.,  1.,  1.],
                [-1.,  0.,  1.],
                [-1., -1.,  0.]])

    Source:
        Shaw et al. 2018, section 3.2.
    """
    rows = len(table)
    check("rows of table", rows, rows % 2 == 1, "2 k + 1, an odd number")
    reach = rows // 2
    return table[distances(query_time, key_time, device=table.device).clamp(-reach, reach) + reach]
