"""The GPT: token ids in, and for every position a score for each token that might come next."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gptspec import files
from gptspec.attention.cache import Cache
from gptspec.checks import check, check_at_least
from gptspec.embeddings.token import TokenEmbedding
from gptspec.gpt.block import Block, make_norm
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.linear import Linear, packing
from gptspec.gpt.positions import make_positions

__all__ = ["GPT", "GPTConfig", "parameter_count"]


class GPT(nn.Module):
    """A language model: embeddings, blocks, a last norm, and the head that scores every token.

    Attributes:
        config: What it was built from.
        tokens: A `TokenEmbedding`.
        positions: How the model learns where tokens stand, one of the six `Positions`.
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
        self.positions = make_positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = Linear(config.d_model, config.vocab_size, bias=False)
        self._draw_projections()
        if config.tied:
            self.head.weight = self.tokens.weight

    def new_cache(self, *, spare: int = 0) -> list[Cache]:
        """Return what the blocks will keep of a text, or a batch of texts, read in parts.

        Args:
            spare: How many of the last tokens can be taken back, in a model with a window.
        """
        return [Cache(self.config.window, spare=spare) for _ in self.blocks]

    def forward(
        self,
        ids: Int[Tensor, "*batch time"],
        cache: Sequence[Cache] | None = None,
        *,
        last: int | None = None,
    ) -> Float[Tensor, "*batch last vocab"]:
        """Return the logits of the token that follows each position.

        Args:
            ids: A text, or the part that follows what `cache` holds.
            cache: From `new_cache`; receives what this part adds.
            last: How many of the last positions are asked for, since the head is a large part of
                the work; None for all.

        Raises:
            ValueError: If an id is no token, there are more than `context_length` of them, `last`
                is below 1, or the cache is of other texts or another model.
        """
        if last is not None:
            check_at_least(1, last=last)
            return self.head(self.hidden_states(ids, cache)[..., -last:, :])
        return self.head(self.hidden_states(ids, cache))

    def hidden_states(
        self, ids: Int[Tensor, "*batch time"], cache: Sequence[Cache] | None = None
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return the vectors that the head turns into logits; arguments are those of a call."""
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
        x = self.dropout(self.positions.embed(self.tokens(ids), start))
        score_bias = self.positions.score_bias(  # once for all blocks
            time, kept + time, dtype=x.dtype, device=x.device
        )
        return self._through_blocks(x, score_bias, caches)

    def forward_padded(
        self,
        ids: Int[Tensor, "batch time"],
        cache: Sequence[Cache],
        padding: Sequence[int],
        *,
        last: int | None = None,
    ) -> Float[Tensor, "batch last vocab"]:
        """Return the logits of texts that end together, with padding before the shorter ones.

        Args:
            ids: The texts, or the part that follows what `cache` holds; in padding any tokens.
            cache: Receives what this part adds.
            padding: How many places there are before the first token of each text, those in the
                cache included. They are not read, and what is returned for them says nothing.
            last: As in `forward`.

        Raises:
            ValueError: As in `forward`.
        """
        time, start, kept = ids.shape[-1], cache[0].time, len(cache[0])
        rows = []
        for row, skipped in zip(ids, padding, strict=True):
            first = min(max(skipped - start, 0), time)  # place of the first token in this part
            own = max(start + first - skipped, 0)  # and in its text
            if own + time - first > self.config.context_length:
                raise ValueError(
                    f"{own + time - first} tokens exceed "
                    f"context_length={self.config.context_length}; shorten the text"
                )
            x = self.positions.embed(self.tokens(row[first:]), own)
            rows.append(nn.functional.pad(x, (0, 0, first, 0)))
        x = self.dropout(torch.stack(rows))
        bias = self.positions.score_bias(time, kept + time, dtype=x.dtype, device=x.device)
        hidden = [skipped - start + kept for skipped in padding]
        bias = _hide_padding(bias, hidden, time, kept + time, like=x)
        x = self._through_blocks(x, bias, cache)
        return self.head(x if last is None else x[..., -last:, :])

    def _through_blocks(
        self,
        x: Float[Tensor, "*batch time d_model"],
        score_bias: Float[Tensor, "*biased time key_time"] | None,
        caches: Sequence[Cache | None],
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return what the blocks and the last norm make of embedded tokens."""
        for block, layer_cache in zip(self.blocks, caches, strict=True):
            x = block(x, rotate=self.positions.rotate, score_bias=score_bias, cache=layer_cache)
        return self.norm(x)

    @torch.no_grad()
    def read(
        self,
        ids: Int[Tensor, "*batch time"],
        cache: Sequence[Cache] | None = None,
        *,
        last: int | None = None,
        padding: Sequence[int] | None = None,
    ) -> Float[Tensor, "*batch last vocab"]:
        """Return the logits without dropout, and nothing to learn from: for all but training.

        Each of the model's modules is in its own mode again afterwards.
        """
        in_training = [module for module in self.modules() if module.training]
        try:
            for module in in_training:
                module.training = False
            with contextlib.nullcontext() if not cache else packing(new_text=not cache[0].time):
                asked = {} if last is None else {"last": last}
                if padding is None or cache is None:
                    logits: Tensor = self(ids, cache, **asked)
                else:
                    logits = self.forward_padded(ids, cache, padding, **asked)
            return logits
        finally:
            for module in in_training:
                module.training = True

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
            why = files.reason(error)
            raise ValueError(f"{folder / 'config.json'} describes no GPT: {why}") from error
        try:
            _check_claims(config, tensors)
        except ValueError as error:
            file = folder / "model.safetensors"
            raise ValueError(f"{file} does not fit config.json: {error}") from error
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


def _check_claims(config: GPTConfig, tensors: Mapping[str, Tensor]) -> None:
    """Refuse sizes and layers for which there are no tensors, before a model is made of them."""
    largest = max((tensor.numel() for tensor in tensors.values()), default=0)
    sizes = {"vocab_size": config.vocab_size, "d_model": config.d_model}
    sizes["d_ff"] = config.feed_forward_width
    if config.positions == "learned":
        sizes["context_length"] = config.context_length
    for name, size in sizes.items():
        check(name, size, size * config.d_model <= largest, "a size that a tensor has")
    n_blocks = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    check("n_layers", config.n_layers, config.n_layers <= n_blocks, f"at most {n_blocks}")


def _hide_padding(
    bias: Float[Tensor, "heads time key_time"] | None,
    padding: Sequence[int],
    time: int,
    key_time: int,
    *,
    like: Tensor,
) -> Float[Tensor, "*biased time key_time"] | None:
    """Return a bias for each text's scores, by which no token reads padding but padding itself.

    Args:
        bias: What positions add to the scores of all texts.
        padding: How many of the keys are padding, in each text.
        time: How many of the last keys have queries.
        key_time: How many keys there are.
        like: A tensor of the scores' type, where they are.
    """
    if max(padding) <= 0:
        return bias
    keys = torch.arange(key_time, device=like.device)
    hidden = keys < torch.tensor(padding, device=like.device)[:, None, None, None]
    itself = keys == keys[key_time - time :, None]  # a softmax needs something to read
    return torch.where(hidden & ~itself, -math.inf, like.new_zeros(()) if bias is None else bias)


def parameter_count(config: GPTConfig) -> int:
    """Return how many numbers a GPT of this shape learns, without memory for them.

    Examples:
        GPT-2, the smallest of the four published:

        >>> shape = dict(vocab_size=50257, context_length=1024)
        >>> parameter_count(GPTConfig(**shape, d_model=768, n_layers=12, n_heads=12))
        124439808
    """
    with torch.device("meta"):  # shapes without numbers
        model = GPT(config)
    return sum(parameter.numel() for parameter in model.parameters())
