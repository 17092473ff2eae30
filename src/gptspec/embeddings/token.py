"""Token embedding: each token of the vocabulary has a vector, looked up by its id."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gptspec.checks import check_at_least


def embed(
    ids: Int[Tensor, "*shape"], table: Float[Tensor, "vocab d_model"]
) -> Float[Tensor, "*shape d_model"]:
    """Return the row of the table that each id names.

    Raises:
        ValueError: If an id is no row of the table, or the ids are not int32 or int64.

    Examples:
        >>> table = torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]])
        >>> embed(torch.tensor([2, 0, 2]), table)
        tensor([[2.0000, 2.1000],
                [0.0000, 0.1000],
                [2.0000, 2.1000]])
    """
    if ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"ids must be int32 or int64, got {ids.dtype}; convert by ids.long()")
    # A compiled graph cannot stop at a value, and reading one would break the graph in two.
    if not torch.compiler.is_compiling():
        outside = (ids < 0) | (ids >= len(table))
        if outside.any():
            raise ValueError(
                f"ids must be from 0 to {len(table) - 1}, got {ids[outside][0].item()}; "
                "is the table as long as the tokenizer's vocabulary?"
            )
    return F.embedding(ids, table)


class TokenEmbedding(nn.Module):
    """A trainable table with one row per token.

    Args:
        vocab_size: Number of tokens, and so of rows.
        d_model: Width of each vector.

    Attributes:
        weight: A row for each token.

    Raises:
        ValueError: If `vocab_size` or `d_model` is below 1.

    Examples:
        >>> tokens = TokenEmbedding(vocab_size=10, d_model=4)
        >>> tokens(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 4])

    Source:
        Small initial values: Radford et al. 2018, section 4.1.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        check_at_least(1, vocab_size=vocab_size, d_model=d_model)
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d_model"]:
        """Return the vector of each token."""
        return embed(ids, self.weight)
