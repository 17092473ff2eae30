"""Grouped-query attention: several heads of queries share one head of keys and values."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.causal import causal_weights
from gptspec.attention.multihead import merge_heads, split_heads
from gptspec.checks import check_at_least, check_dropout, check_multiple


def repeat_heads(
    x: Float[Tensor, "*batch kv_heads time d_head"], n_repeats: int
) -> Float[Tensor, "*batch heads time d_head"]:
    """Return every head `n_repeats` times, copies beside each other.

    Examples:
        Two heads of one token become four.

        >>> import torch
        >>> repeat_heads(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), n_repeats=2).squeeze(1)
        tensor([[1., 2.],
                [1., 2.],
                [3., 4.],
                [3., 4.]])
    """
    return x.repeat_interleave(n_repeats, dim=-3)


class GroupedQueryAttention(nn.Module):
    """Causal attention with `n_heads` heads of queries, and fewer of keys and values.

    Args:
        d_in: Width of the vectors that are read, at least 1.
        d_out: Width of the vectors that are returned, a multiple of `n_heads`.
        n_heads: How many heads ask, a multiple of `n_kv_heads`.
        n_kv_heads: How many heads answer: `n_heads` for multi-head attention, 1 for multi-query.
        dropout: Share of the weights set to zero in training, from 0 up to, not including, 1.
        bias: Whether the four projections add a constant.

    Attributes:
        query: The projection that makes queries, an `nn.Linear`.
        key: The one that makes keys.
        value: The one that makes values.
        output: The one that mixes what the heads have read.

    Raises:
        ValueError: If a size is below 1, if `n_heads` does not divide `d_out` or `n_kv_heads` does
            not divide `n_heads`, or if `dropout` is outside [0, 1).

    Examples:
        >>> import torch
        >>> attend = GroupedQueryAttention(d_in=6, d_out=8, n_heads=4, n_kv_heads=2)
        >>> attend(torch.zeros(3, 6)).shape
        torch.Size([3, 8])
        >>> queries, keys, values = attend.project(torch.zeros(3, 6))
        >>> queries.shape, keys.shape  # heads, time, d_head
        (torch.Size([4, 3, 2]), torch.Size([2, 3, 2]))

    Source:
        Ainslie et al. 2023, section 2.2; one head of keys and values: Shazeer 2019, section 3.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        n_heads: int,
        n_kv_heads: int,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_at_least(1, d_in=d_in, d_out=d_out, n_heads=n_heads, n_kv_heads=n_kv_heads)
        check_multiple(d_out=d_out, n_heads=n_heads)
        check_multiple(n_heads=n_heads, n_kv_heads=n_kv_heads)
        check_dropout(dropout)
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads
        self.dropout = dropout
        d_kv = d_out // n_heads * n_kv_heads
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_kv, bias=bias)
        self.value = nn.Linear(d_in, d_kv, bias=bias)
        self.output = nn.Linear(d_out, d_out, bias=bias)

    def project(
        self, x: Float[Tensor, "*batch time d_in"]
    ) -> tuple[
        Float[Tensor, "*batch heads time d_head"],
        Float[Tensor, "*batch kv_heads time d_head"],
        Float[Tensor, "*batch kv_heads time d_head"],
    ]:
        """Return the heads of queries, of keys and of values."""
        return (
            split_heads(self.query(x), self.n_heads),
            split_heads(self.key(x), self.n_kv_heads),
            split_heads(self.value(x), self.n_kv_heads),
        )

    def forward(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return for each position what its heads read from it and its past, through one kernel."""
        queries, keys, values = self.project(x)
        mixes = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            # The kernel does not know whether the module is in training.
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
            enable_gqa=True,  # the kernel reads shared heads in place, without copies
        )
        return self.output(merge_heads(mixes))

    def explicit(self, x: Float[Tensor, "*batch time d_in"]) -> Float[Tensor, "*batch time d_out"]:
        """Return the same as `forward` without dropout, written as the formula is."""
        queries, keys, values = self.project(x)
        n_repeats = self.n_heads // self.n_kv_heads
        weights = causal_weights(queries, repeat_heads(keys, n_repeats))
        return self.output(merge_heads(weights @ repeat_heads(values, n_repeats)))
