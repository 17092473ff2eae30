"""Layer normalization: every vector is centred and brought to one length."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def normalize(
    x: Float[Tensor, "*batch d_model"], eps: float = 1e-5
) -> Float[Tensor, "*batch d_model"]:
    """Return every vector with mean 0 and variance 1; `eps` keeps vectors without variance finite.

    Examples:
        Far and near, large and small: what is left is which number is above the mean.

        >>> normalize(torch.tensor([[1.0, 3.0], [-500.0, 500.0], [7.0, 7.0]]))
        tensor([[-1.0000,  1.0000],
                [-1.0000,  1.0000],
                [ 0.0000,  0.0000]])

    Source:
        Ba et al. 2016, section 3, equation 3; `eps` as in OpenAI's gpt-2, src/model.py, `norm`.
    """
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps)


class LayerNorm(nn.Module):
    """Normalization, then a learned scale and shift of each number.

    Args:
        d_model: Width of the vectors, at least 1.
        eps: Added to the variance before the root, above 0.
        bias: Whether there is a shift.

    Attributes:
        weight: What each feature is multiplied by, all ones at first.
        bias: What is added to it, all zeros at first; None if there is none.

    Raises:
        ValueError: If `d_model` is below 1 or `eps` is not above 0.

    Examples:
        A new layer norm only normalizes: its scale is 1, its shift 0.

        >>> LayerNorm(2)(torch.tensor([1.0, 3.0])).detach()
        tensor([-1.0000,  1.0000])
    """

    def __init__(self, d_model: int, *, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"d_model must be at least 1, got {d_model}")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return `normalize(x) * weight + bias`, through torch's kernel."""
        # One pass over memory: half the time of the formula, forward and backward.
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
