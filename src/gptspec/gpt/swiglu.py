"""SwiGLU: a feed-forward in which one projection decides how much of another one passes."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least, check_dropout
from gptspec.gpt.linear import Linear


def silu(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return each number times its sigmoid, a share between 0 and 1.

    Examples:
        >>> silu(torch.tensor([-20.0, -1.0, 0.0, 1.0, 20.0]))
        tensor([-4.1223e-08, -2.6894e-01,  0.0000e+00,  7.3106e-01,  2.0000e+01])

    Source:
        Hendrycks and Gimpel 2016, section 2; Ramachandran et al. 2017, who call it Swish.
    """
    return x * torch.sigmoid(x)


class SwiGLU(nn.Module):
    """Two projections up to `d_ff` numbers, one a gate for the other, and one down again.

    Args:
        d_model: Width of the vectors that are read and returned, at least 1.
        d_ff: Width between the projections, at least 1; two thirds of a `FeedForward`'s make it
            as large.
        dropout: Share of the output set to zero in training, from 0 up to, not including, 1.
        bias: Whether the three projections add a constant.

    Attributes:
        gate: The projection that decides what passes, an `nn.Linear`.
        up: The one to what may pass.
        down: The one back to `d_model`.

    Raises:
        ValueError: If a width is below 1, or `dropout` is outside [0, 1).

    Examples:
        >>> think = SwiGLU(d_model=2, d_ff=5)
        >>> think(torch.zeros(3, 2)).shape
        torch.Size([3, 2])

    Source:
        Shazeer 2020, section 2, equation 6.
    """

    def __init__(
        self, d_model: int, d_ff: int, *, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        check_at_least(1, d_model=d_model, d_ff=d_ff)
        check_dropout(dropout)
        self.gate = Linear(d_model, d_ff, bias=bias)
        self.up = Linear(d_model, d_ff, bias=bias)
        self.down = Linear(d_ff, d_model, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return what each position makes of its own vector."""
        # Torch's silu computes what `silu` does, in one pass over memory.
        hidden = F.silu(self.gate(x)) * self.up(x)
        return self.dropout(self.down(hidden))
