"""Positions: six ways to tell a GPT where its tokens stand, behind one interface.

A kind of positions may act in three places: on the vectors of the tokens before the first block
(`embed`), on queries and keys in every attention (`rotate`), and on the attention's scores
(`score_bias`). Each kind acts in one of them and leaves the others as they are.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.gpt.config import GPTConfig
from gptspec.positions.alibi import alibi
from gptspec.positions.learned import LearnedPositions
from gptspec.positions.relative import RelativeBias
from gptspec.positions.rotary import rotate
from gptspec.positions.sinusoidal import SinusoidalPositions


class Positions(nn.Module):
    """What every kind of positions offers. Unless a kind says otherwise, nothing acts."""

    def embed(
        self, x: Float[Tensor, "*batch time d_model"], start: int = 0
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return the vectors that the first block reads.

        Args:
            x: Vectors of consecutive tokens, as the token embedding gives them.
            start: Position of the first of them: how many tokens came before.
        """
        return x

    def rotate(
        self, heads: Float[Tensor, "*batch time d_head"], start: int = 0
    ) -> Float[Tensor, "*batch time d_head"]:
        """Return the queries or keys that make an attention's scores.

        Args:
            heads: Queries or keys of consecutive tokens.
            start: Position of the first of them.
        """
        return heads

    def score_bias(
        self,
        query_time: int,
        key_time: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "heads query_time key_time"] | None:
        """Return what is added to every attention's scores; None if nothing is.

        Args:
            query_time: Number of queries, the last positions of the text.
            key_time: Number of keys.
            dtype: Floating type of the scores; a bias that is learned has its own.
            device: Where the scores are; a bias that is learned is on its own.
        """
        return None


class NoPositions(Positions):
    """Acts nowhere: the causal mask alone tells where tokens stand."""


class Learned(LearnedPositions, Positions):
    """Adds the row of a trainable table to each vector."""

    def embed(
        self, x: Float[Tensor, "*batch time d_model"], start: int = 0
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector plus the row of its position."""
        return self(x, start)


class Sinusoidal(SinusoidalPositions, Positions):
    """Multiplies each vector by the root of its width and adds the sinusoids of its position."""

    def embed(
        self, x: Float[Tensor, "*batch time d_model"], start: int = 0
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return each vector times the root of the width, plus the sinusoids of its position."""
        # The length of sinusoids grows with the width: small vectors would not be seen beside them.
        return self(x * math.sqrt(self.d_model), start)


class Relative(RelativeBias, Positions):
    """Adds to each score a trainable number for the distance, another one in each head."""

    def score_bias(
        self,
        query_time: int,
        key_time: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "heads query_time key_time"]:
        """Return the number of each query and key, by their distance."""
        return self(query_time, key_time)


class Rotary(Positions):
    """Rotates queries and keys by their positions.

    Args:
        theta: How slow the slowest rotations are.
    """

    def __init__(self, theta: float = 10_000.0) -> None:
        super().__init__()
        self.theta = theta

    def rotate(
        self, heads: Float[Tensor, "*batch time d_head"], start: int = 0
    ) -> Float[Tensor, "*batch time d_head"]:
        """Return queries or keys, each rotated by its position."""
        return rotate(heads, start=start, theta=self.theta)


class Alibi(Positions):
    """Subtracts from each score a price for the distance, another one in each head.

    Args:
        n_heads: Number of heads.
    """

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads

    def score_bias(
        self,
        query_time: int,
        key_time: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "heads query_time key_time"]:
        """Return the negative price of each query and key, by their distance."""
        return alibi(self.n_heads, query_time, key_time, dtype=dtype, device=device)


def make_positions(config: GPTConfig) -> Positions:
    """Return new positions of the kind that the configuration names.

    Examples:
        >>> shape = dict(vocab_size=10, context_length=8, d_model=4, n_layers=1, n_heads=2)
        >>> positions = make_positions(GPTConfig(**shape, positions="alibi"))
        >>> positions.score_bias(query_time=1, key_time=3)[0]
        tensor([[-0.1250, -0.0625,  0.0000]])
        >>> x = torch.ones(3, 4)
        >>> positions.embed(x) is x and positions.rotate(x) is x
        True
    """
    match config.positions:
        case "learned":
            return Learned(config.context_length, config.d_model)
        case "sinusoidal":
            return Sinusoidal(config.d_model)
        case "relative":
            return Relative(config.n_heads)
        case "rotary":
            return Rotary(config.theta)
        case "alibi":
            return Alibi(config.n_heads)
        case "none":
            return NoPositions()
