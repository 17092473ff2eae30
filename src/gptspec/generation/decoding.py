"""Decoding: from logits to a next token, and from next tokens to a text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.attention.cache import Cache
from gptspec.checks import check, check_at_least
from gptspec.gpt.model import GPT


def greedy(logits: Float[Tensor, "*batch vocab"]) -> Int[Tensor, "*batch"]:
    """Return the most probable token, the lowest id where several tie.

    Examples:
        >>> greedy(torch.tensor([1.0, 3.0, 3.0]))
        tensor(1)
    """
    return logits.argmax(dim=-1)


def apply_temperature(
    logits: Float[Tensor, "*batch vocab"], temperature: float
) -> Float[Tensor, "*batch vocab"]:
    """Return logits of the distribution raised to the power 1 / temperature.

    Args:
        logits: Scores of the next token.
        temperature: Below 1 sharpens, above 1 flattens; 0 keeps only what `greedy` chooses.

    Raises:
        ValueError: If `temperature` is negative or not finite.

    Examples:
        A half, a quarter, a quarter, each squared and brought back to a sum of one.

        >>> apply_temperature(torch.tensor([0.5, 0.25, 0.25]).log(), 0.5).softmax(dim=-1)
        tensor([0.6667, 0.1667, 0.1667])
    """
    check("temperature", temperature, 0 <= temperature < math.inf, "0 or above, and finite")
    if temperature == 0:
        return top_k(logits, 1)
    # A Python float has a wider range than float32, where it and its reciprocal must be normal.
    tiny = torch.finfo(torch.promote_types(logits.dtype, torch.float32)).tiny
    temperature = min(max(temperature, tiny), 1 / tiny)
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
    check_at_least(1, k=k)
    least = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # no sort of them all
    above, tied = logits > least, logits == least
    room = k - above.sum(dim=-1, keepdim=True)
    return logits.masked_fill(~(above | tied & (tied.cumsum(dim=-1) <= room)), -math.inf)


def top_p(logits: Float[Tensor, "*batch vocab"], p: float) -> Float[Tensor, "*batch vocab"]:
    """Keep the fewest tokens whose probabilities sum to `p` or more; the rest become -inf.

    This is nucleus sampling. Of tokens equally probable the lower ids stay first.

    Raises:
        ValueError: If `p` is outside (0, 1].

    Examples:
        0.5 alone is not yet 0.6: the token that crosses the line stays in.

        >>> top_p(torch.tensor([0.2, 0.5, 0.3]).log(), p=0.6).softmax(dim=-1)
        tensor([0.0000, 0.6250, 0.3750])

    Source:
        Holtzman et al. 2020, section 3.1: the nucleus.
    """
    check("p", p, 0 < p <= 1, "above 0 and at most 1")
    if p == 1:  # a rounded sum may reach 1 before the last token
        return logits.clone()
    ranked, order = _probabilities(logits).sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(dim=-1) - ranked
    late = (before >= p) & (before > 0)  # in float32 the smallest p is 0, and one token stays
    dropped = torch.zeros_like(late).scatter(-1, order, late)
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
    check("p", p, 0 <= p <= 1, "from 0 to 1")
    if p == 0:
        return logits.clone()
    probabilities = _probabilities(logits)
    least = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < least, -math.inf)


def apply_repetition_penalty(
    logits: Float[Tensor, "*batch vocab"], ids: Int[Tensor, "*batch time"], penalty: float
) -> Float[Tensor, "*batch vocab"]:
    """Lower the logits of tokens that occur in `ids`: divide positive ones, multiply the others.

    Raises:
        ValueError: If `penalty` is below 1 or not finite.

    Examples:
        >>> logits = torch.tensor([2.0, -2.0, 2.0])
        >>> apply_repetition_penalty(logits, torch.tensor([0, 1, 0]), penalty=2.0)
        tensor([ 1., -4.,  2.])

    Source:
        Keskar et al. 2019, section 4.1; multiplying below 0 as transformers 5.23 does.
    """
    check("penalty", penalty, 1 <= penalty < math.inf, "1 or above, and finite")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids.long(), True)
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lowered, logits)


def _probabilities(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
    """Return the softmax, in float32 at least: 16 bits are too few to add up a vocabulary."""
    return logits.softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen. The defaults draw from the model's own distribution.

    Args:
        temperature: Below 1 prefers probable tokens, above 1 evens out; 0 is greedy.
        top_k: Keep only so many tokens, the most probable; None keeps all.
        top_p: Keep the most probable tokens that hold this share of the probability (nucleus
            sampling); 1 keeps all.
        min_p: Keep the tokens at least so many times as probable as the most probable; 0 keeps all.
        repetition_penalty: Make tokens that occurred before less probable; 1 does not.

    Raises:
        ValueError: If a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        heat, penalty = self.temperature, self.repetition_penalty
        check("temperature", heat, 0 <= heat < math.inf, "0 or above, and finite")
        if self.top_k is not None:
            check_at_least(1, top_k=self.top_k)
        check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1")
        check("repetition_penalty", penalty, 1 <= penalty < math.inf, "1 or above, and finite")


def distribution(
    logits: Float[Tensor, "*batch vocab"],
    decoding: Decoding,
    previous: Int[Tensor, "*batch time"] | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """Return the probabilities that the next token is drawn from.

    The settings act in the order repetition penalty, temperature, top-k, top-p, min-p, in float32
    at least.

    Args:
        logits: Scores of the next token, -inf where it must not be.
        decoding: The settings.
        previous: The ids so far, for the repetition penalty.

    Raises:
        ValueError: If a row of `logits` holds NaN or +inf, or nothing but -inf.

    Examples:
        >>> distribution(torch.tensor([0.6, 0.3, 0.1]).log(), Decoding(top_k=2))
        tensor([0.6667, 0.3333, 0.0000])
    """
    logits = _penalized(logits, decoding, previous)
    logits = apply_temperature(logits, decoding.temperature)
    if decoding.top_k is not None:
        logits = top_k(logits, decoding.top_k)
    return min_p(top_p(logits, decoding.top_p), decoding.min_p).softmax(dim=-1)


def _penalized(
    logits: Float[Tensor, "*batch vocab"],
    decoding: Decoding,
    previous: Int[Tensor, "*batch time"] | None,
) -> Float[Tensor, "*batch vocab"]:
    """Return the logits after the repetition penalty; each row's largest is finite."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if previous is not None and decoding.repetition_penalty != 1:
        logits = apply_repetition_penalty(logits, previous, decoding.repetition_penalty)
    largest = logits.amax(dim=-1)
    if not largest.isfinite().all():
        raise ValueError(f"logits must have a finite largest value in each row, got {largest}")
    return logits


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
    if decoding.temperature == 0:  # one token has all the probability: nothing to sort or draw
        return greedy(_penalized(logits, decoding, previous))
    probabilities = distribution(logits, decoding, previous)
    rows = probabilities.reshape(-1, logits.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).view(logits.shape[:-1])


def generate(
    model: GPT, ids: Iterable[int], n_tokens: int, decoding: Decoding, *, seed: int
) -> Iterator[int]:
    """Continue a text: draw a token, add it to the text, and ask again.

    While the text fits the model's context, each token is read once, through a KV cache: first the
    whole prompt (prefill), then token after token (decode).
    Tokens come one by one, as they are drawn. The model reads in evaluation mode, and is in
    its own mode again whenever a token is handed out.

    Args:
        model: Reads at most its context length; a longer text loses its beginning.
        ids: The text so far (the prompt).
        n_tokens: How many tokens to add.
        decoding: How each is chosen.
        seed: Same seed, same tokens.

    Raises:
        ValueError: If `ids` is empty, `n_tokens` is negative, or `seed` is negative or has more
            than 64 bits.

    Examples:
        >>> from gptspec.gpt.model import GPT, GPTConfig
        >>> config = GPTConfig(vocab_size=1, context_length=2, d_model=2, n_layers=1, n_heads=1)
        >>> list(generate(GPT(config), [0], 3, Decoding(), seed=1))
        [0, 0, 0]
    """
    text = prompt_of(model, ids)
    check_at_least(0, n_tokens=n_tokens)
    return _continue(model, text, n_tokens, decoding, seeded(seed, text.device))


def _continue(
    model: GPT, text: Tensor, n_tokens: int, decoding: Decoding, generator: torch.Generator
) -> Iterator[int]:
    cache = model.new_cache()
    for _ in range(n_tokens):
        token = sample(next_logits(model, text, cache), decoding, generator, text)
        text = torch.cat([text, token[None]])
        yield int(token)


def prompt_of(model: GPT, ids: Iterable[int]) -> Int[Tensor, "time"]:
    """Return ids as a tensor that a model can read.

    Raises:
        ValueError: If there are none.
    """
    text = torch.tensor(list(ids), dtype=torch.long, device=next(model.parameters()).device)
    if not len(text):
        raise ValueError("ids is empty, []: begin with a prompt, or with the end-of-text token")
    return text


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """Return a source of random numbers that nobody else draws from.

    Torch's generator on a CPU uses the lowest 32 bits of a seed.

    Raises:
        ValueError: If `seed` is negative or has more than 64 bits.
    """
    check("seed", seed, 0 <= seed < 2**64, "from 0 to 2**64 - 1")
    return torch.Generator(device).manual_seed(seed)


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
        logits = model.read(text[..., cache[0].time :], cache, last=1)
    else:  # every token has another place than before, so nothing kept is right any more
        logits = model.read(text[..., -context_length:], last=1)
    return logits[..., -1, :]
