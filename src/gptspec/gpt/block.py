"""Block: attention and feed-forward, each adding what it finds to the stream of vectors."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.cache import Cache, CachedAttention
from gptspec.gpt.feed_forward import FeedForward
from gptspec.gpt.layer_norm import LayerNorm
from gptspec.gpt.rms_norm import RMSNorm
from gptspec.gpt.swiglu import SwiGLU

NormKind = Literal["layer", "rms"]
FeedForwardKind = Literal["gelu", "swiglu"]


def make_norm(kind: NormKind, d_model: int, *, eps: float, bias: bool) -> LayerNorm | RMSNorm:
    """Return a norm of the kind that is asked for; an RMS norm has no bias.

    Raises:
        ValueError: If there is no such kind, `d_model` is below 1, or `eps` is not above 0.

    Examples:
        >>> make_norm("rms", 4, eps=1e-5, bias=True)
        RMSNorm()
    """
    if kind == "layer":
        return LayerNorm(d_model, eps=eps, bias=bias)
    if kind == "rms":
        return RMSNorm(d_model, eps=eps)
    raise ValueError(f"norm must be layer or rms, got {kind!r}")


def make_feed_forward(
    kind: FeedForwardKind, d_model: int, d_ff: int, *, dropout: float, bias: bool
) -> FeedForward | SwiGLU:
    """Return a feed-forward of the kind that is asked for.

    Raises:
        ValueError: If there is no such kind, a width is below 1, or `dropout` is outside [0, 1).

    Examples:
        >>> make_feed_forward("gelu", 4, 16, dropout=0.0, bias=True).up
        Linear(in_features=4, out_features=16, bias=True)
    """
    if kind == "gelu":
        return FeedForward(d_model, d_ff, dropout=dropout, bias=bias)
    if kind == "swiglu":
        return SwiGLU(d_model, d_ff, dropout=dropout, bias=bias)
    raise ValueError(f"feed_forward must be gelu or swiglu, got {kind!r}")


class Block(nn.Module):
    """One layer of a GPT: two branches that read normalized vectors and add to the plain ones.

    Args:
        d_model: Width of the vectors that are read and returned, a multiple of `n_heads`.
        n_heads: How many heads of queries the attention has.
        d_ff: Width inside the feed-forward.
        dropout: Share set to zero in training, of the attention's weights and of what either
            branch adds, from 0 up to, not including, 1.
        bias: Whether projections and layer norms add a constant.
        n_kv_heads: How many heads of keys and values; `n_heads` if None.
        window: How many positions a token reads, itself included; None for the whole past.
        norm: Kind of both norms, layer or rms.
        norm_eps: Added under the norms' roots, above 0.
        feed_forward: Kind of the feed-forward, gelu or swiglu.

    Attributes:
        attention_norm: What attention reads through.
        attention: A `CachedAttention`.
        feed_forward_norm: What the feed-forward reads through.
        feed_forward: A `FeedForward` or `SwiGLU`.

    Raises:
        ValueError: If a size is below 1, `n_heads` does not divide `d_model` or `n_kv_heads` does
            not divide `n_heads`, `dropout` is outside [0, 1), or there is no such kind.

    Examples:
        >>> import torch
        >>> block = Block(d_model=4, n_heads=2, d_ff=16)
        >>> block(torch.zeros(3, 4)).shape
        torch.Size([3, 4])

    Source:
        Radford et al. 2019, section 2.3: the norms stand before attention and feed-forward.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        bias: bool = True,
        n_kv_heads: int | None = None,
        window: int | None = None,
        norm: NormKind = "layer",
        norm_eps: float = 1e-5,
        feed_forward: FeedForwardKind = "gelu",
    ) -> None:
        super().__init__()
        self.attention_norm = make_norm(norm, d_model, eps=norm_eps, bias=bias)
        self.attention = CachedAttention(
            d_model,
            d_model,
            n_heads=n_heads,
            n_kv_heads=n_heads if n_kv_heads is None else n_kv_heads,
            dropout=dropout,
            bias=bias,
            window=window,
        )
        self.feed_forward_norm = make_norm(norm, d_model, eps=norm_eps, bias=bias)
        self.feed_forward = make_feed_forward(
            feed_forward, d_model, d_ff, dropout=dropout, bias=bias
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        *,
        rotate: Callable[..., Tensor] | None = None,
        score_bias: Float[Tensor, "heads time key_time"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector with what its past and its own thoughts add to it.

        Args:
            x: Vectors of consecutive tokens.
            rotate: Handed on to the attention, as are the other two; see `CachedAttention`.
            score_bias: What positions add to the attention's scores.
            cache: What the attention keeps of earlier tokens.
        """
        seen = self.attention_norm(x)
        found = self.attention(seen, rotate=rotate, score_bias=score_bias, cache=cache)
        x = x + self.dropout(found)
        # The feed-forward has its own dropout.
        return x + self.feed_forward(self.feed_forward_norm(x))
