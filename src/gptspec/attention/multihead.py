"""Multi-head attention: several causal attentions side by side, then one projection."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.causal import causal_weights
from gptspec.checks import check_at_least, check_dropout, check_multiple


def split_heads(
    x: Float[Tensor, "*batch time d_out"], n_heads: int
) -> Float[Tensor, "*batch heads time d_head"]:
    """Cut every vector into `n_heads` pieces, and give each head a text of its own.

    Examples:
        Two tokens of width 4 become two heads of two tokens of width 2.

        >>> split_heads(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]), n_heads=2)
        tensor([[[1., 2.],
                 [5., 6.]],
                [[3., 4.],
                 [7., 8.]]])
    """
    return torch.unflatten(x, -1, (n_heads, -1)).transpose(-3, -2)


def merge_heads(
    x: Float[Tensor, "*batch heads time d_head"],
) -> Float[Tensor, "*batch time d_out"]:
    """Lay the heads' vectors side by side again: the inverse of `split_heads`.

    Examples:
        >>> merge_heads(torch.tensor([[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]))
        tensor([[1., 2., 3., 4.],
                [5., 6., 7., 8.]])
    """
    return x.transpose(-3, -2).flatten(-2)


class MultiHeadAttention(nn.Module):
    """Causal attention in `n_heads` heads of width `d_out / n_heads`, and a projection of all.

    Args:
        d_in: Width of the vectors that are read, at least 1.
        d_out: Width of the vectors that are returned, a multiple of `n_heads`.
        n_heads: How many heads read the text, each in its own way.
        dropout: Share of the weights set to zero in training, from 0 up to, not including, 1.
        bias: Whether the four projections add a constant.

    Attributes:
        query: The projection that makes queries, an `nn.Linear`.
        key: The one that makes keys.
        value: The one that makes values.
        output: The one that mixes what the heads have read.

    Raises:
        ValueError: If a width or `n_heads` is below 1, if `n_heads` does not divide `d_out`,
            or if `dropout` is outside [0, 1).

    Examples:
        >>> attend = MultiHeadAttention(d_in=6, d_out=4, n_heads=2)
        >>> attend(torch.zeros(3, 6)).shape
        torch.Size([3, 4])
        >>> attend.weights(torch.zeros(3, 6)).shape  # heads, query time, key time
        torch.Size([2, 3, 3])

    Source:
        Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self, d_in: int, d_out: int, *, n_heads: int, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        check_at_least(1, d_in=d_in, d_out=d_out, n_heads=n_heads)
        check_multiple(d_out=d_out, n_heads=n_heads)
        check_dropout(dropout)
        self.n_heads = n_heads
        self.dropout = dropout
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)
        self.output = nn.Linear(d_out, d_out, bias=bias)

    def forward(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return for each position what its heads read from it and its past, through one kernel."""
        mixes = F.scaled_dot_product_attention(
            split_heads(self.query(x), self.n_heads),
            split_heads(self.key(x), self.n_heads),
            split_heads(self.value(x), self.n_heads),
            # The kernel does not know whether the module is in training.
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
        )
        return self.output(merge_heads(mixes))

    def weights(
        self, x: Float[Tensor, "*batch time d_in"]
    ) -> Float[Tensor, "*batch heads time time"]:
        """Return how much each head reads, at each position (row), from each position (column)."""
        queries, keys = self.query(x), self.key(x)
        return causal_weights(split_heads(queries, self.n_heads), split_heads(keys, self.n_heads))

    def explicit(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return the same as `forward` without dropout, written as the formula is."""
        values = split_heads(self.value(x), self.n_heads)
        return self.output(merge_heads(self.weights(x) @ values))
