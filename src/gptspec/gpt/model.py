"""The GPT: token ids in, and for every position a score for each token that might come next."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gptspec import files
from gptspec.embeddings.token import TokenEmbedding
from gptspec.gpt.block import Block
from gptspec.gpt.layer_norm import LayerNorm
from gptspec.positions.learned import LearnedPositions


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The shape of a GPT: all that its weights do not say.

    Args:
        vocab_size: How many tokens there are to choose from.
        context_length: How many tokens the model can read at once.
        d_model: Width of the stream, a multiple of `n_heads`.
        n_layers: How many blocks.
        n_heads: How many heads in each attention.
        d_ff: Width inside each feed-forward; 4 times `d_model` if None.
        dropout: Share set to zero in training, from 0 up to, not including, 1.
        bias: Whether projections and norms add a constant.
        tied: Whether the head's weights are the token embedding's.

    Raises:
        ValueError: If a size is no whole number of at least 1, `n_heads` does not divide `d_model`,
            `dropout` is outside [0, 1), or `bias` or `tied` is neither True nor False.

    Examples:
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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_layers", "n_heads", "d_ff"):
            size = getattr(self, name)
            if name == "d_ff" and size is None:
                continue
            if type(size) is not int or size < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")
        if self.d_model % self.n_heads:
            raise ValueError(
                "d_model must be a multiple of n_heads, "
                f"got d_model={self.d_model} and n_heads={self.n_heads}"
            )
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        for name in ("bias", "tied"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")

    @property
    def feed_forward_width(self) -> int:
        """Width inside each feed-forward, whether given or not."""
        return 4 * self.d_model if self.d_ff is None else self.d_ff


class GPT(nn.Module):
    """A language model: embeddings, blocks, a last norm, and the head that scores every token.

    Examples:
        >>> config = GPTConfig(vocab_size=10, context_length=8, d_model=4, n_layers=2, n_heads=2)
        >>> GPT(config)(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 10])

    Source:
        Radford et al. 2019, section 2.3; OpenAI's gpt-2, src/model.py.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = TokenEmbedding(config.vocab_size, config.d_model)
        self.positions = LearnedPositions(config.context_length, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(
                config.d_model,
                n_heads=config.n_heads,
                d_ff=config.feed_forward_width,
                dropout=config.dropout,
                bias=config.bias,
            )
            for _ in range(config.n_layers)
        )
        self.norm = LayerNorm(config.d_model, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._draw_projections()
        if config.tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: Int[Tensor, "*batch time"]) -> Float[Tensor, "*batch time vocab"]:
        """Return the logits of the token that follows each position.

        Raises:
            ValueError: If an id is no token, or there are more than `context_length` of them.
        """
        x = self.dropout(self.positions(self.tokens(ids)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    @torch.no_grad()
    def _draw_projections(self) -> None:
        """Draw the projections as GPT-2 does; embeddings and norms begin so by themselves."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Each block adds twice to the stream: the sum of all shall not grow with their number.
        for module in self.modules():
            if isinstance(module, Block):
                for projection in (module.attention.output, module.feed_forward.down):
                    projection.weight.div_(math.sqrt(2 * self.config.n_layers))

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json`, each whole or not at all."""
        # Parameters, not the state: a tied weight has two names there, and one here.
        files.write_tensors(folder / "model.safetensors", dict(self.named_parameters()))
        files.write_json(folder / "config.json", "GPT", dataclasses.asdict(self.config))

    @classmethod
    def load(cls, folder: Path) -> "GPT":
        """Return the model that `save` wrote, with the same bits.

        Raises:
            ValueError: If a file is missing, cut short, foreign, from a newer version,
                or does not fit the other.
        """
        content = files.read_json(folder / "config.json", "GPT")
        tensors = files.read_tensors(folder / "model.safetensors")
        try:
            config = GPTConfig(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'config.json'} describes no GPT: {error}") from error
        with torch.device("meta"):  # no memory, no random draws: all weights come from the file
            model = cls(config)
        wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
        found = {name: value.shape for name, value in tensors.items() if value.is_floating_point()}
        for name in wanted | found:
            if wanted.get(name) != found.get(name):
                raise ValueError(
                    f"{folder / 'model.safetensors'} does not fit config.json: "
                    f"{name} has shape {found.get(name)} instead of {wanted.get(name)}"
                )
        weights = {name: tensors[name].to(torch.get_default_device()) for name in wanted}
        model.load_state_dict(weights, strict=not config.tied, assign=True)
        if config.tied:
            model.head.weight = model.tokens.weight
        return model


def parameter_count(config: GPTConfig) -> int:
    """Return how many numbers a GPT of this shape learns, without building it.

    Examples:
        GPT-2, the smallest of the four published:

        >>> shape = dict(vocab_size=50257, context_length=1024)
        >>> parameter_count(GPTConfig(**shape, d_model=768, n_layers=12, n_heads=12))
        124439808
    """
    d_model, d_ff = config.d_model, config.feed_forward_width
    embeddings = config.vocab_size * (1 if config.tied else 2) + config.context_length
    block = 4 * d_model**2 + 2 * d_model * d_ff + 2 * d_model
    biases = 7 * d_model + d_ff
    norm = 2 * d_model if config.bias else d_model
    return embeddings * d_model + config.n_layers * (block + biases * config.bias) + norm
