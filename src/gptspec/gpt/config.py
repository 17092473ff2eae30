"""Configuration: the sizes and kinds that make one GPT differ from another."""

from dataclasses import dataclass
from typing import Literal, get_args

from gptspec.checks import check, check_at_least, check_dropout, check_multiple, check_positive

NormKind = Literal["layer", "rms"]
FeedForwardKind = Literal["gelu", "swiglu"]
PositionKind = Literal["learned", "sinusoidal", "relative", "rotary", "alibi", "none"]


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The shape of a GPT: all that its weights do not say. The defaults make a GPT-2.

    Args:
        vocab_size: How many tokens there are to choose from.
        context_length: How many tokens the model can read at once.
        d_model: Width of the stream, a multiple of `n_heads`.
        n_layers: How many blocks.
        n_heads: How many heads in each attention.
        d_ff: Width inside each feed-forward; if None, 4 times `d_model`, or two thirds of that
            with swiglu, whose three matrices then hold as many numbers as the two of gelu.
        dropout: Share set to zero in training, from 0 up to, not including, 1.
        bias: Whether projections and layer norms add a constant.
        tied: Whether the head's weights are the token embedding's.
        positions: How the model learns where tokens stand: learned, sinusoidal, relative, rotary,
            alibi, or none.
        norm: Kind of all norms, layer or rms.
        feed_forward: Kind of all feed-forwards, gelu or swiglu.
        n_kv_heads: How many heads of keys and values in each attention; `n_heads` if None.
        window: How many positions a token reads in each attention; None for the whole past.
        theta: How slow the slowest rotations are, with rotary positions.
        norm_eps: Added under the root in all norms.

    Raises:
        ValueError: If an argument is none of its kind, a size is no whole number of at least 1,
            heads do not divide what they share, or positions need an even width and have none.

    Examples:
        The shape of Llama, in small:

        >>> shape = dict(vocab_size=512, context_length=128, d_model=64, n_layers=2, n_heads=8)
        >>> kinds = dict(positions="rotary", norm="rms", feed_forward="swiglu")
        >>> llama = GPTConfig(**shape, **kinds, n_kv_heads=2, bias=False, tied=False)

        >>> GPTConfig(vocab_size=50257, context_length=1024, d_model=770, n_layers=12, n_heads=12)
        Traceback (most recent call last):
        ValueError: d_model must be a multiple of n_heads, got d_model=770 and n_heads=12
    """

    vocab_size: int
    context_length: int
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int | None = None
    dropout: float = 0.0
    bias: bool = True
    tied: bool = True
    positions: PositionKind = "learned"
    norm: NormKind = "layer"
    feed_forward: FeedForwardKind = "gelu"
    n_kv_heads: int | None = None
    window: int | None = None
    theta: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_at_least(
            1,
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
        )
        for name in ("d_ff", "n_kv_heads", "window"):
            if getattr(self, name) is not None:
                check_at_least(1, **{name: getattr(self, name)})
        check_multiple(d_model=self.d_model, n_heads=self.n_heads)
        if self.n_kv_heads is not None:
            check_multiple(n_heads=self.n_heads, n_kv_heads=self.n_kv_heads)
        check_dropout(self.dropout)
        check_positive(theta=self.theta, norm_eps=self.norm_eps)
        for name in ("bias", "tied"):
            value = getattr(self, name)
            check(name, value, isinstance(value, bool), "True or False")
        choices = {"positions": PositionKind, "norm": NormKind, "feed_forward": FeedForwardKind}
        for name, kinds in choices.items():
            value, known = getattr(self, name), get_args(kinds)
            check(name, value, value in known, f"one of {', '.join(known)}")
        # Both kinds work on pairs of numbers: of the vector, or of each head's.
        pairs = {"sinusoidal": self.d_model, "rotary": self.d_model // self.n_heads}
        if pairs.get(self.positions, 0) % 2:
            raise ValueError(
                f"{self.positions} positions need vectors of even width, got "
                f"d_model={self.d_model} and n_heads={self.n_heads}"
            )

    @property
    def feed_forward_width(self) -> int:
        """Width inside each feed-forward, whether given or not."""
        if self.d_ff is not None:
            return self.d_ff
        return 8 * self.d_model // 3 if self.feed_forward == "swiglu" else 4 * self.d_model
