"""Layer normalization: every vector is centred and brought to one length."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least, check_positive


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
    # 16 bits are too few for a mean and squares, so these are taken in 32, as torch's kernel does.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = wide - wide.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return (centred / torch.sqrt(variance + eps)).to(x.dtype)


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
        ValueError: If `d_model` is below 1, or `eps` not above 0 and finite.

    Examples:
        A new layer norm only normalizes: its scale is 1, its shift 0.

        >>> LayerNorm(2)(torch.tensor([1.0, 3.0])).detach()
        tensor([-1.0000,  1.0000])
    """

    def __init__(self, d_model: int, *, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        check_at_least(1, d_model=d_model)
        check_positive(eps=eps)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return `normalize(x) * weight + bias`, through torch's kernel."""
        # One pass over memory: half the time of the formula, forward and backward.
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
