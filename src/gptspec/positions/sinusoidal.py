"""Sinusoidal positions: each place is a row of clock hands, each turning slower than the last."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check, check_at_least


def sinusoids(
    time: int,
    d_model: int,
    *,
    start: int = 0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "time d_model"]:
    """Return the vectors of `time` positions from `start` on: sine, cosine, sine, cosine, ...

    Args:
        time: Number of positions.
        d_model: Width of each vector, even, for each clock takes two numbers.
        start: The first position.
        dtype: Floating type of the result; the default type if None.
        device: Where the result shall be; the default device if None.

    Raises:
        ValueError: If `d_model` is odd or below 2, or `time` or `start` is negative.

    Examples:
        Position 0 has every hand at (0, 1); one step turns the first by 1, the second by 0.01.

        >>> sinusoids(2, d_model=4).round(decimals=2)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8400, 0.5400, 0.0100, 1.0000]])

    Source:
        Vaswani et al. 2017, section 3.5.
    """
    check("d_model", d_model, d_model >= 2 and d_model % 2 == 0, "even and at least 2")
    check_at_least(0, time=time, start=start)
    # Angles grow with the position, and their rounding with them: bfloat16 cannot tell position
    # 256 from 257. So they are float64, and on the CPU since not every accelerator has it.
    positions = torch.arange(start, start + time, dtype=torch.float64, device="cpu")
    exponents = torch.arange(0, d_model, 2, dtype=torch.float64, device="cpu") / d_model
    angles = positions[:, None] / 10_000**exponents
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return table.to(
        device=device or torch.get_default_device(), dtype=dtype or torch.get_default_dtype()
    )


class SinusoidalPositions(nn.Module):
    """Add to each vector the sinusoids of its position; there is nothing to train.

    Args:
        d_model: Width of each vector, even.

    Raises:
        ValueError: If `d_model` is odd or below 2.

    Examples:
        >>> SinusoidalPositions(d_model=2)(torch.zeros(2, 2))
        tensor([[0.0000, 1.0000],
                [0.8415, 0.5403]])
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        sinusoids(0, d_model)  # refuses a width without pairs before any vector arrives
        self.d_model = d_model

    def forward(
        self, x: Float[Tensor, "*batch time d_model"], start: int = 0
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector plus the sinusoids of its position.

        Args:
            x: Vectors of consecutive tokens.
            start: Position of the first of them: how many tokens came before.

        Raises:
            ValueError: If `start` is negative.
        """
        time = x.shape[-2]
        return x + sinusoids(time, self.d_model, start=start, dtype=x.dtype, device=x.device)
