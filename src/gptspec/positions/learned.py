"""Learned positions: each place in the context has a trainable vector."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least


class LearnedPositions(nn.Module):
    """A trainable table with one row per position, added to what stands there.

    Args:
        context_length: Number of positions, and so of rows.
        d_model: Width of each vector.

    Attributes:
        weight: A row for each position.

    Raises:
        ValueError: If `context_length` or `d_model` is below 1.

    Examples:
        >>> positions = LearnedPositions(context_length=4, d_model=2)
        >>> positions.weight.data = torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
        >>> positions(torch.ones(2, 2), start=1).detach()
        tensor([[1.1000, 1.1000],
                [1.2000, 1.2000]])

    Source:
        Radford et al. 2018, section 4.1; initial values as in openai/gpt-2, src/model.py (`wpe`).
    """

    def __init__(self, context_length: int, d_model: int) -> None:
        super().__init__()
        check_at_least(1, context_length=context_length, d_model=d_model)
        self.weight = nn.Parameter(torch.empty(context_length, d_model))
        nn.init.normal_(self.weight, std=0.01)

    def forward(
        self, x: Float[Tensor, "*batch time d_model"], start: int = 0
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector plus the row of its position.

        Args:
            x: Vectors of consecutive tokens.
            start: Position of the first of them: how many tokens came before.

        Raises:
            ValueError: If a position is negative or beyond the table.
        """
        check_at_least(0, start=start)
        context_length = len(self.weight)
        end = start + x.shape[-2]
        if end > context_length:
            raise ValueError(
                f"positions {start} to {end - 1} exceed context_length={context_length}; "
                "shorten the text, or train with a longer context"
            )
        return x + self.weight[start:end]
