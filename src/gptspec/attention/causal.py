"""Causal attention: each position reads itself and its past."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least, check_dropout


def causal_weights(
    queries: Float[Tensor, "*batch time d_head"],
    keys: Float[Tensor, "*batch time d_head"],
) -> Float[Tensor, "*batch time time"]:
    """Return how much each position (row) reads from each position (column).

    Examples:
        Queries that prefer nothing read their whole past evenly.

        >>> causal_weights(torch.zeros(3, 1), torch.zeros(3, 1))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.3333, 0.3333, 0.3333]])

    Source:
        Vaswani et al. 2017, section 3.2.3.
    """
    time, d_head = queries.shape[-2:]
    scores = queries @ keys.mT / math.sqrt(d_head)
    future = torch.ones(time, time, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(dim=-1)


class CausalAttention(nn.Module):
    """Self-attention over the past, with dropout on the weights while training.

    Args:
        d_in: Width of the vectors that are read, at least 1.
        d_out: Width of the vectors that are returned, at least 1.
        dropout: Share of the weights set to zero in training, from 0 up to, not including, 1.
        bias: Whether the three projections add a constant.

    Attributes:
        query: The projection that makes queries, an `nn.Linear`.
        key: The one that makes keys.
        value: The one that makes values.

    Raises:
        ValueError: If a width is below 1, or `dropout` is outside [0, 1).

    Examples:
        >>> attend = CausalAttention(d_in=4, d_out=2)
        >>> attend(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(self, d_in: int, d_out: int, *, dropout: float = 0.0, bias: bool = False) -> None:
        super().__init__()
        check_at_least(1, d_in=d_in, d_out=d_out)
        check_dropout(dropout)
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return for each position a mix of its own value and those before it."""
        weights = causal_weights(self.query(x), self.key(x))
        return self.dropout(weights) @ self.value(x)
