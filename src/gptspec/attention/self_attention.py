"""Self-attention: each position asks, every position offers a key and says a value."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least


def attention_weights(
    queries: Float[Tensor, "*batch query_time d_head"],
    keys: Float[Tensor, "*batch key_time d_head"],
    *,
    scale: float | None = None,
) -> Float[Tensor, "*batch query_time key_time"]:
    """Return how much each query (row) reads from each key (column).

    Args:
        queries: What each reading position asks for.
        keys: What each position that is read has to offer.
        scale: Factor on the dot products; 1/sqrt(d_head) if not given.

    Examples:
        The second query fits the second key: its score is log 3, the other 0, so it reads 3 to 1.
        The first asks for nothing and reads evenly.

        >>> import torch
        >>> queries = torch.tensor([[0.0], [math.log(3)]])
        >>> keys = torch.tensor([[0.0], [1.0]])
        >>> attention_weights(queries, keys)
        tensor([[0.5000, 0.5000],
                [0.2500, 0.7500]])

    Source:
        Vaswani et al. 2017, section 3.2.1.
    """
    d_head = queries.shape[-1]
    scale = 1 / math.sqrt(d_head) if scale is None else scale
    return (queries @ keys.mT * scale).softmax(dim=-1)


class SelfAttention(nn.Module):
    """Attention whose queries, keys and values are learned projections of one text.

    Args:
        d_in: Width of the vectors that are read, at least 1.
        d_out: Width of queries, keys, values and of the vectors that are returned, at least 1.
        bias: Whether the three projections add a constant.

    Attributes:
        query: The projection that makes queries, an `nn.Linear`.
        key: The one that makes keys.
        value: The one that makes values.

    Raises:
        ValueError: If a width is below 1.

    Examples:
        >>> import torch
        >>> attend = SelfAttention(d_in=4, d_out=2)
        >>> attend(torch.zeros(3, 4)).shape
        torch.Size([3, 2])

    Source:
        Vaswani et al. 2017, sections 3.2.1 and 3.2.3.
    """

    def __init__(self, d_in: int, d_out: int, *, bias: bool = False) -> None:
        super().__init__()
        check_at_least(1, d_in=d_in, d_out=d_out)
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)

    def forward(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return for each position a mix of the values of all positions."""
        return attention_weights(self.query(x), self.key(x)) @ self.value(x)
