"""Block: attention and feed-forward, each adding what it finds to the stream of vectors."""

from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.multihead import MultiHeadAttention
from gptspec.gpt.feed_forward import FeedForward
from gptspec.gpt.layer_norm import LayerNorm


class Block(nn.Module):
    """One layer of a GPT: two branches that read normalized vectors and add to the plain ones.

    Args:
        d_model: Width of the vectors that are read and returned, a multiple of `n_heads`.
        n_heads: How many heads the attention has.
        d_ff: Width inside the feed-forward.
        dropout: Share set to zero in training, of the attention's weights and of what either
            branch adds, from 0 up to, not including, 1.
        bias: Whether projections and norms add a constant.

    Raises:
        ValueError: If a size is below 1, if `n_heads` does not divide `d_model`,
            or if `dropout` is outside [0, 1).

    Examples:
        >>> import torch
        >>> block = Block(d_model=4, n_heads=2, d_ff=16)
        >>> block(torch.zeros(3, 4)).shape
        torch.Size([3, 4])

    Source:
        Radford et al. 2019, section 2.3: the norms stand before attention and feed-forward.
    """

    def __init__(
        self, d_model: int, *, n_heads: int, d_ff: int, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(d_model, bias=bias)
        self.attention = MultiHeadAttention(
            d_model, d_model, n_heads=n_heads, dropout=dropout, bias=bias
        )
        self.feed_forward_norm = LayerNorm(d_model, bias=bias)
        self.feed_forward = FeedForward(d_model, d_ff, dropout=dropout, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*batch time d_model"]
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector with what its past and its own thoughts add to it."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        # The feed-forward has its own dropout.
        return x + self.feed_forward(self.feed_forward_norm(x))
