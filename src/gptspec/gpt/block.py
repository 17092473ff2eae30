"""Block: attention and feed-forward, each adding what it finds to the residual stream."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.cache import Cache
from gptspec.gpt.attention import Attention
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.feed_forward import FeedForward
from gptspec.gpt.layer_norm import LayerNorm
from gptspec.gpt.rms_norm import RMSNorm
from gptspec.gpt.swiglu import SwiGLU


def make_norm(config: GPTConfig) -> LayerNorm | RMSNorm:
    """Return a new norm of the kind that the configuration names; an RMS norm has no bias.

    Examples:
        >>> shape = dict(vocab_size=10, context_length=8, d_model=4, n_layers=1, n_heads=2)
        >>> make_norm(GPTConfig(**shape, norm="rms"))
        RMSNorm()
    """
    if config.norm == "rms":
        return RMSNorm(config.d_model, eps=config.norm_eps)
    return LayerNorm(config.d_model, eps=config.norm_eps, bias=config.bias)


def make_feed_forward(config: GPTConfig) -> FeedForward | SwiGLU:
    """Return a new feed-forward of the kind that the configuration names.

    Examples:
        >>> shape = dict(vocab_size=10, context_length=8, d_model=4, n_layers=1, n_heads=2)
        >>> make_feed_forward(GPTConfig(**shape)).up
        Linear(in_features=4, out_features=16, bias=True)
    """
    kind = SwiGLU if config.feed_forward == "swiglu" else FeedForward
    width = config.feed_forward_width
    return kind(config.d_model, width, dropout=config.dropout, bias=config.bias)


class Block(nn.Module):
    """One layer of a GPT: two branches that read normalized vectors and add to the plain ones.

    In training the dropout falls on attention's weights, and on what either branch adds.

    Args:
        config: The sizes and kinds of the GPT; see `GPTConfig`.

    Attributes:
        attention_norm: What attention reads through.
        attention: An `Attention`.
        feed_forward_norm: What the feed-forward reads through.
        feed_forward: A `FeedForward` or `SwiGLU`.

    Examples:
        >>> import torch
        >>> shape = dict(vocab_size=10, context_length=8, d_model=4, n_layers=1, n_heads=2)
        >>> block = Block(GPTConfig(**shape))
        >>> block(torch.zeros(3, 4)).shape
        torch.Size([3, 4])

    Source:
        Radford et al. 2019, section 2.3: pre-norm, the norms stand before the two branches.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(
            config.d_model,
            n_heads=config.n_heads,
            n_kv_heads=config.n_kv_heads,
            window=config.window,
            dropout=config.dropout,
            bias=config.bias,
        )
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = make_feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        *,
        rotate: Callable[..., Tensor] | None = None,
        score_bias: Float[Tensor, "*biased time key_time"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector with what attention and feed-forward add to it.

        Args:
            x: Vectors of consecutive tokens.
            rotate: Handed on to the attention, as are the other two; see `Attention`.
            score_bias: What positions add to the attention's scores.
            cache: What the attention keeps of earlier tokens.
        """
        seen = self.attention_norm(x)
        found = self.attention(seen, rotate=rotate, score_bias=score_bias, cache=cache)
        x = x + self.dropout(found)
        # The feed-forward has its own dropout.
        return x + self.feed_forward(self.feed_forward_norm(x))
