"""RMS normalization: every vector is brought to one length, and keeps its direction."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check_at_least, check_positive


def rms_normalize(
    x: Float[Tensor, "*batch d_model"], eps: float = 1e-5
) -> Float[Tensor, "*batch d_model"]:
    """Return every vector with a mean square of 1; `eps` keeps the zero vector finite.

    Examples:
        >>> rms_normalize(torch.tensor([[3.0, 4.0], [-300.0, -400.0], [0.0, 0.0]]))
        tensor([[ 0.8485,  1.1314],
                [-0.8485, -1.1314],
                [ 0.0000,  0.0000]])

    Source:
        Zhang and Sennrich 2019, section 4, equation 4; `eps` as in Meta's llama, `RMSNorm`.
    """
    # Half precision ends at 65,504, which is the square of only 256.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean_square = wide.square().mean(dim=-1, keepdim=True)
    return (wide / torch.sqrt(mean_square + eps)).to(x.dtype)


class RMSNorm(nn.Module):
    """RMS normalization, then a learned scale of each number.

    Args:
        d_model: Width of the vectors, at least 1.
        eps: Added to the mean square before the root, above 0.

    Attributes:
        weight: What each feature is multiplied by, all ones at first.

    Raises:
        ValueError: If `d_model` is below 1, or `eps` not above 0 and finite.

    Examples:
        A new RMS norm only normalizes: its scale is 1.

        >>> RMSNorm(2)(torch.tensor([3.0, 4.0])).detach()
        tensor([0.8485, 1.1314])
    """

    def __init__(self, d_model: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        check_at_least(1, d_model=d_model)
        check_positive(eps=eps)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return `rms_normalize(x) * weight`, through torch's kernel."""
        # On a GPU one pass over memory, where the formula takes several.
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
