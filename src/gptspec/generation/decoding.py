"""Decoding: from logits to a next token, and from next tokens to a text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.attention.cache import Cache
from gptspec.gpt.model import GPT


def greedy(logits: Float[Tensor, "*batch vocab"]) -> Int[Tensor, "*batch"]:
    """Return the most probable token, the lowest id where several tie.

    Examples:
        >>> greedy(torch.tensor([1.0, 3.0, 3.0]))
        tensor(1)
    """
    return logits.argmax(dim=-1)


def temper(
    logits: Float[Tensor, "*batch vocab"], temperature: float
) -> Float[Tensor, "*batch vocab"]:
    """Return logits of the distribution raised to the power 1 / temperature.

    Args:
        logits: Scores of the next token.
        temperature: Below 1 sharpens, above 1 flattens; 0 leaves only the most probable token.

    Raises:
        ValueError: If `temperature` is negative or not finite.

    Examples:
        A half, a quarter, a quarter, each squared and brought back to a sum of one.

        >>> temper(torch.tensor([0.5, 0.25, 0.25]).log(), 0.5).softmax(dim=-1)
        tensor([0.6667, 0.1667, 0.1667])
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or above, and finite, got {temperature}")
    if temperature < torch.finfo(logits.dtype).tiny:  # its reciprocal overflows: 0 in all but name
        return top_k(logits, 1)
    # With the largest at 0 a low temperature can only underflow, never reach infinity.
    return (logits - logits.amax(dim=-1, keepdim=True)) / temperature


def top_k(logits: Float[Tensor, "*batch vocab"], k: int) -> Float[Tensor, "*batch vocab"]:
    """Keep the `k` most probable tokens, lower ids first where they tie; the rest become -inf.

    Raises:
        ValueError: If `k` is below 1. A `k` above the vocabulary keeps all.

    Examples:
        >>> top_k(torch.tensor([2.0, 1.0, 2.0, 2.0]), k=2)
        tensor([2., -inf, 2., -inf])

    Source:
        Fan et al. 2018, section 5.4.
    """
    if k < 1:
        raise ValueError(f"k of top_k must be at least 1, got {k}; leave it out to keep all")
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -math.inf)


def top_p(logits: Float[Tensor, "*batch vocab"], p: float) -> Float[Tensor, "*batch vocab"]:
    """Keep the fewest tokens whose probabilities sum to `p` or more; the rest become -inf.

    Raises:
        ValueError: If `p` is outside (0, 1].

    Examples:
        0.5 alone is not yet 0.6: the token that crosses the line stays in.

        >>> top_p(torch.tensor([0.2, 0.5, 0.3]).log(), p=0.6).softmax(dim=-1)
        tensor([0.0000, 0.6250, 0.3750])

    Source:
        Holtzman et al. 2020, section 3.1: the nucleus.
    """
    if not 0 < p <= 1:
        raise ValueError(f"p of top_p must be above 0 and at most 1, got {p}")
    if p == 1:  # a rounded sum may reach 1 before the last token
        return logits
    ranked, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(dim=-1) - ranked
    dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(dropped, -math.inf)


def min_p(logits: Float[Tensor, "*batch vocab"], p: float) -> Float[Tensor, "*batch vocab"]:
    """Keep the tokens at least `p` times as probable as the most probable; the rest become -inf.

    Raises:
        ValueError: If `p` is outside [0, 1].

    Examples:
        >>> min_p(torch.tensor([0.6, 0.3, 0.1]).log(), p=0.4).softmax(dim=-1)
        tensor([0.6667, 0.3333, 0.0000])

    Source:
        Nguyen et al. 2024, section 3.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p of min_p must be from 0 to 1, got {p}")
    probabilities = logits.softmax(dim=-1)
    least = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < least, -math.inf)


def penalize(
    logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch time"], penalty: float
) -> Float[Tensor, "*batch vocab"]:
    """Lower the logits of tokens that stand in `ids`: divide positive ones, multiply the others.

    Raises:
        ValueError: If `penalty` is below 1 or not finite.

    Examples:
        >>> penalize(torch.tensor([2.0, -2.0, 2.0]), torch.tensor([0, 1]), penalty=2.0)
        tensor([ 1., -4.,  2.])

    Source:
        Keskar et al. 2019, section 4.1; multiplying below 0 as transformers 5.23 does.
    """
    if not 1 <= penalty < math.inf:
        raise ValueError(f"penalty must be 1 or above, and finite, got {penalty}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lowered, logits)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen. The defaults draw from the model's own distribution.

    Args:
        temperature: See `temper`; 0 is greedy.
        top_k: See `top_k`; None keeps all.
        top_p: See `top_p`; 1 keeps all.
        min_p: See `min_p`; 0 keeps all.
        penalty: See `penalize`; 1 forgives every repetition.

    Raises:
        ValueError: If a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    penalty: float = 1.0

    def __post_init__(self) -> None:
        # One try on a vocabulary of one token: each function checks its own setting.
        distribution(torch.zeros(1), self, torch.zeros(1, dtype=torch.long))


def distribution(
    logits: Float[Tensor, "*batch vocab"],
    decoding: Decoding,
    previous: Int[Tensor, "*batch time"] | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """Return the probabilities that the next token is drawn from.

    The settings act in the order penalty, temperature, top-k, top-p, min-p.

    Args:
        logits: Scores of the next token, -inf where it must not be.
        decoding: The settings.
        previous: The ids so far, which the penalty holds against their repetition.

    Raises:
        ValueError: If a row of `logits` holds NaN or +inf, or nothing but -inf.

    Examples:
        >>> distribution(torch.tensor([0.6, 0.3, 0.1]).log(), Decoding(top_k=2))
        tensor([0.6667, 0.3333, 0.0000])
    """
    largest = logits.amax(dim=-1)
    if not largest.isfinite().all():
        raise ValueError(f"logits must have a finite largest value in each row, got {largest}")
    if previous is not None:
        logits = penalize(logits, previous, decoding.penalty)
    logits = temper(logits, decoding.temperature)
    if decoding.top_k is not None:
        logits = top_k(logits, decoding.top_k)
    return min_p(top_p(logits, decoding.top_p), decoding.min_p).softmax(dim=-1)


def sample(
    logits: Float[Tensor, "*batch vocab"],
    decoding: Decoding,
    generator: torch.Generator,
    previous: Int[Tensor, "*batch time"] | None = None,
) -> Int[Tensor, "*batch"]:
    """Draw a next token for each row of logits.

    Raises:
        ValueError: See `distribution`.

    Examples:
        >>> source = torch.Generator().manual_seed(0)
        >>> sample(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), Decoding(temperature=0.0), source)
        tensor([1, 0])
    """
    probabilities = distribution(logits, decoding, previous)
    rows = probabilities.reshape(-1, logits.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).view(logits.shape[:-1])


def generate(
    model: GPT, ids: Iterable[int], n_tokens: int, decoding: Decoding, *, seed: int
) -> Iterator[int]:
    """Continue a text: draw a token, add it to the text, and ask again.

    While the text fits the model's context, each token is read once, through a cache.
    Tokens come one by one, as they are drawn. The model reads in evaluation mode, and is in
    its own mode again whenever a token is handed out.

    Args:
        model: Reads at most its context length; a longer text loses its beginning.
        ids: The text so far (the prompt).
        n_tokens: How many tokens to add.
        decoding: How each is chosen.
        seed: Same seed, same tokens.

    Raises:
        ValueError: If `ids` is empty or `n_tokens` is negative.

    Examples:
        >>> from gptspec.gpt.model import GPT, GPTConfig
        >>> config = GPTConfig(vocab_size=1, context_length=2, d_model=2, n_layers=1, n_heads=1)
        >>> list(generate(GPT(config), [0], 3, Decoding(), seed=1))
        [0, 0, 0]
    """
    device = next(model.parameters()).device
    text = torch.tensor(list(ids), dtype=torch.long, device=device)
    if not len(text):
        raise ValueError("ids is empty, []: begin with a prompt, or with the end-of-text token")
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be 0 or above, got {n_tokens}")
    return _continue(model, text, n_tokens, decoding, torch.Generator(device).manual_seed(seed))


def _continue(
    model: GPT, text: Tensor, n_tokens: int, decoding: Decoding, generator: torch.Generator
) -> Iterator[int]:
    cache = model.new_cache()
    for _ in range(n_tokens):
        token = sample(next_logits(model, text, cache), decoding, generator, text)
        text = torch.cat([text, token[None]])
        yield int(token)


def next_logits(
    model: GPT, text: Int[Tensor, "*batch time"], cache: Sequence[Cache]
) -> Float[Tensor, "*batch vocab"]:
    """Return the logits of what follows a text, or each of several texts of the same length.

    Args:
        model: Reads what `cache` does not yet hold.
        text: From its beginning.
        cache: The model's own, of this text.
    """
    context_length = model.config.context_length
    if text.shape[-1] <= context_length:
        logits = model.read(text[..., cache[0].time :], cache)
    else:  # every token has another place than before, so nothing kept is right any more
        logits = model.read(text[..., -context_length:])
    return logits[..., -1, :]
