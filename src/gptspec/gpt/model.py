"""The GPT: token ids in, and for every position a score for each token that might come next."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gptspec import files
from gptspec.attention.cache import Cache
from gptspec.embeddings.token import TokenEmbedding
from gptspec.gpt.block import Block, make_norm
from gptspec.gpt.config import GPTConfig
from gptspec.positions.alibi import alibi
from gptspec.positions.learned import LearnedPositions
from gptspec.positions.relative import RelativeBias
from gptspec.positions.rotary import rotate
from gptspec.positions.sinusoidal import SinusoidalPositions

__all__ = ["GPT", "GPTConfig", "parameter_count"]

N_BUCKETS = 32  # of relative distances, as T5 has


class GPT(nn.Module):
    """A language model: embeddings, blocks, a last norm, and the head that scores every token.

    Attributes:
        config: What it was built from.
        tokens: A `TokenEmbedding`.
        positions: What is learned or added for positions; None where nothing is.
        blocks: The blocks, in the order in which they are read.
        norm: The last norm.
        head: An `nn.Linear` to the vocabulary, without bias.

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
        self.positions: LearnedPositions | SinusoidalPositions | RelativeBias | None = None
        if config.positions == "learned":
            self.positions = LearnedPositions(config.context_length, config.d_model)
        elif config.positions == "sinusoidal":
            self.positions = SinusoidalPositions(config.d_model)
        elif config.positions == "relative":
            self.positions = RelativeBias(config.n_heads, n_buckets=N_BUCKETS)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(
                config.d_model,
                n_heads=config.n_heads,
                d_ff=config.feed_forward_width,
                dropout=config.dropout,
                bias=config.bias,
                n_kv_heads=config.n_kv_heads,
                window=config.window,
                norm=config.norm,
                norm_eps=config.norm_eps,
                feed_forward=config.feed_forward,
            )
            for _ in range(config.n_layers)
        )
        self.norm = make_norm(config.norm, config.d_model, eps=config.norm_eps, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._draw_projections()
        if config.tied:
            self.head.weight = self.tokens.weight

    def new_cache(self) -> list[Cache]:
        """Return what the blocks will keep of a text, or a batch of texts, read in parts."""
        return [Cache(self.config.window) for _ in self.blocks]

    def forward(
        self, ids: Int[Tensor, "*batch time"], cache: Sequence[Cache] | None = None
    ) -> Float[Tensor, "*batch time vocab"]:
        """Return the logits of the token that follows each position.

        Args:
            ids: A text, or the part that follows what `cache` holds.
            cache: From `new_cache`; receives what this part adds.

        Raises:
            ValueError: If an id is no token, there are more than `context_length` of them, or the
                cache is of other texts or another model.
        """
        caches: Sequence[Cache | None] = [None] * len(self.blocks) if cache is None else cache
        if len(caches) != len(self.blocks):
            raise ValueError(f"cache must be of {len(self.blocks)} layers, got {len(caches)}")
        time, start, kept = ids.shape[-1], 0, 0
        if cache is not None:
            start, kept = cache[0].time, len(cache[0])
        if start + time > self.config.context_length:
            raise ValueError(
                f"{start + time} tokens exceed context_length={self.config.context_length}; "
                "shorten the text, or train with a longer context"
            )
        x = self.tokens(ids)
        if isinstance(self.positions, SinusoidalPositions):  # their length grows with the width
            x = x * math.sqrt(self.config.d_model)
        if isinstance(self.positions, LearnedPositions | SinusoidalPositions):
            x = self.positions(x, start)
        x = self.dropout(x)
        turn = None
        if self.config.positions == "rotary":
            turn = partial(rotate, theta=self.config.theta)
        score_bias = self._score_bias(x, kept + time)  # once for all blocks
        for block, layer_cache in zip(self.blocks, caches, strict=True):
            x = block(x, rotate=turn, score_bias=score_bias, cache=layer_cache)
        return self.head(self.norm(x))

    @torch.no_grad()
    def read(
        self, ids: Int[Tensor, "*batch time"], cache: Sequence[Cache] | None = None
    ) -> Float[Tensor, "*batch time vocab"]:
        """Return the logits without dropout, and nothing to learn from: for all but training.

        Whatever mode the model is in, it is in it again afterwards.
        """
        training = self.training
        self.eval()
        try:
            logits: Tensor = self(ids, cache)
            return logits
        finally:
            self.train(training)

    def _score_bias(
        self, x: Float[Tensor, "*batch time d_model"], key_time: int
    ) -> Float[Tensor, "heads time key_time"] | None:
        """Return what positions add to the scores of these tokens, the last of `key_time`."""
        time = x.shape[-2]
        if isinstance(self.positions, RelativeBias):
            return self.positions(time, key_time)
        if self.config.positions == "alibi":
            return alibi(self.config.n_heads, time, key_time, dtype=x.dtype, device=x.device)
        return None

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
    d_kv = d_model // config.n_heads * (config.n_kv_heads or config.n_heads)
    n_up = 2 if config.feed_forward == "swiglu" else 1  # projections up to d_ff
    tables = {"learned": config.context_length * d_model, "relative": N_BUCKETS * config.n_heads}
    embeddings = config.vocab_size * (1 if config.tied else 2) * d_model
    norm = 2 * d_model if config.bias and config.norm == "layer" else d_model
    block = 2 * d_model * (d_model + d_kv) + (n_up + 1) * d_model * d_ff + 2 * norm
    biases = 2 * (d_model + d_kv) + n_up * d_ff + d_model
    positions = tables.get(config.positions, 0)
    return embeddings + positions + config.n_layers * (block + biases * config.bias) + norm
