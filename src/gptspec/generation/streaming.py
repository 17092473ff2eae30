"""Streaming: text as it is written, to one reader or to many at once."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptspec.attention.cache import Cache
from gptspec.checks import check, check_at_least
from gptspec.generation.decoding import Decoding, generate, prompt_of, sample, seeded
from gptspec.gpt.model import GPT
from gptspec.tokenization import bytes as utf8
from gptspec.tokenization.bpe import BPE


def until(ids: Iterable[int], stop: Collection[int]) -> Iterator[int]:
    """Yield ids up to the first that is in `stop`, which is swallowed; no more are asked for.

    Examples:
        >>> list(until([5, 3, 0, 7], stop=[0]))
        [5, 3]
    """
    for id in ids:
        if id in stop:
            return
        yield id


def pieces(ids: Iterable[int], tokenizer: BPE) -> Iterator[str]:
    """Yield text as soon as its characters are complete; joined, it is the ids' text.

    Raises:
        ValueError: If an id does not exist.

    Examples:
        The three bytes of one character, and one more.

        >>> list(pieces([226, 130, 172, 33], BPE(())))
        ['€', '!']
    """
    decoder = utf8.StreamDecoder()
    for id in ids:
        if piece := decoder.feed(tokenizer.token_bytes(id)):
            yield piece
    if piece := decoder.finish():
        yield piece


def stream(
    model: GPT,
    tokenizer: BPE,
    prompt: str,
    n_tokens: int,
    decoding: Decoding,
    *,
    seed: int,
    stop: Collection[int] | None = None,
) -> Iterator[str]:
    """Continue a text and yield what is added, piece by piece, each as soon as it is drawn.

    Args:
        model: Writes.
        tokenizer: The one that the model was trained with.
        prompt: The text to continue; without one, the model begins a document of its own.
        n_tokens: How many tokens to add at most.
        decoding: How each is chosen.
        seed: Same seed, same text.
        stop: Ids that end the text; the end-of-text token if None.

    Raises:
        ValueError: If a stop token does not exist, and as `generate`.
    """
    end = tokenizer.end_of_text
    stop = _known([end] if stop is None else stop, tokenizer.vocab_size)
    ids = generate(model, tokenizer.encode(prompt) or [end], n_tokens, decoding, seed=seed)
    return pieces(until(ids, stop), tokenizer)


@dataclass
class _Text:
    number: int
    ids: list[int]
    end: int  # how long it may become
    decoding: Decoding
    generator: torch.Generator
    stop: frozenset[int]


class Batch:
    """Texts that are continued at once, and that join and leave while others are under way.

    Each becomes what `generate` makes of it alone. The texts end together, in a rectangle with
    padding before the shorter ones (left padding); prompts that have joined since the last step
    are read in one reading of their own, and are then a part of the rectangle. Texts that are
    longer than the model's context are read in windows, together.

    Args:
        model: Writes.

    Examples:
        >>> from gptspec.gpt.model import GPT, GPTConfig
        >>> config = GPTConfig(vocab_size=1, context_length=8, d_model=2, n_layers=1, n_heads=1)
        >>> batch = Batch(GPT(config))
        >>> batch.join([0, 0], 2, Decoding(), seed=1)
        0
        >>> batch.step()
        [(0, 0)]
        >>> batch.join([0], 1, Decoding(), seed=1)
        1
        >>> batch.step(), len(batch)
        ([(0, 0), (1, 0)], 0)

    Source:
        Yu et al. 2022, section 3.1: scheduling for every iteration.
    """

    def __init__(self, model: GPT) -> None:
        self.model = model
        self._numbers = itertools.count()
        self._waiting: list[_Text] = []
        self._going: list[_Text] = []  # the rows of the cache
        self._beyond: list[_Text] = []  # longer than the context
        self._cache: list[Cache] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._going) + len(self._beyond)

    def join(
        self,
        prompt: Iterable[int],
        n_tokens: int,
        decoding: Decoding,
        *,
        seed: int,
        stop: Collection[int] = (),
    ) -> int:
        """Add a text, which will be read in the next step, and return its number.

        Args:
            prompt: The text so far.
            n_tokens: How many tokens to add at most.
            decoding: How each is chosen.
            seed: Same seed, same tokens.
            stop: Ids that end the text; they are not handed out.

        Raises:
            ValueError: If `prompt` is empty, `n_tokens` is negative, `seed` is negative or has
                more than 64 bits, or a stop token does not exist.
        """
        ids = prompt_of(self.model, prompt)
        check_at_least(0, n_tokens=n_tokens)
        stop = _known(stop, self.model.config.vocab_size)
        end, generator = len(ids) + n_tokens, seeded(seed, ids.device)
        text = _Text(next(self._numbers), ids.tolist(), end, decoding, generator, stop)
        if n_tokens:
            self._waiting.append(text)
        return text.number

    def step(self) -> list[tuple[int, int]]:
        """Return the number of each text under way, and its next token; ended texts leave."""
        written, ended = [], set()
        for text, logits in self._read():
            previous = torch.tensor(text.ids, device=logits.device)
            token = int(sample(logits, text.decoding, text.generator, previous))
            if token not in text.stop:
                text.ids.append(token)
                written.append((text.number, token))
            if token in text.stop or len(text.ids) == text.end:
                ended.add(text.number)
        self._beyond = [text for text in self._beyond if text.number not in ended]
        self._leave(ended)
        return sorted(written)

    def _read(self) -> list[tuple[_Text, Tensor]]:
        """Return for each text the logits of what follows it."""
        context_length = self.model.config.context_length
        long = [text for text in self._going if len(text.ids) > context_length]
        self._leave({text.number for text in long})
        new = [text for text in self._waiting if len(text.ids) <= context_length]
        self._beyond += long + [text for text in self._waiting if len(text.ids) > context_length]
        self._waiting = []
        found: list[tuple[_Text, Tensor]] = []
        if self._going:
            found += self._read_last(self._going, 1, self._cache)
        if new:
            longest = max(len(text.ids) for text in new)
            cache = self.model.new_cache()
            # Where the others are now, and at the beginning far enough to have places before.
            end = self._cache[0].time if self._going else context_length
            for layer in cache:
                layer.time = end - longest
            found += self._read_last(new, longest, cache)
            pairs = zip(self._cache, cache, strict=True) if self._going else None
            self._cache = cache if pairs is None else [pair[0].join(pair) for pair in pairs]
            self._going = self._going + new
        if self._beyond:
            windows = [text.ids[-context_length:] for text in self._beyond]
            logits = self.model.read(self._tensor(windows), last=1)
            found += zip(self._beyond, logits[:, -1], strict=True)
        return found

    def _read_last(
        self, texts: Sequence[_Text], time: int, cache: Sequence[Cache]
    ) -> Iterator[tuple[_Text, Tensor]]:
        """Read the last `time` tokens of each text, padded on the left."""
        end = cache[0].time + time
        rows = [[0] * (time - len(text.ids)) + text.ids[-time:] for text in texts]
        padding = [end - len(text.ids) for text in texts]
        logits = self.model.read(self._tensor(rows), cache, last=1, padding=padding)
        return zip(texts, logits[:, -1], strict=True)

    def _leave(self, numbers: Collection[int]) -> None:
        stay = [row for row, text in enumerate(self._going) if text.number not in numbers]
        if len(stay) < len(self._going):
            self._going = [self._going[row] for row in stay]
            longest = max((len(text.ids) for text in self._going), default=0)
            for layer in self._cache:
                layer.select(stay, longest)

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, device=next(self.model.parameters()).device)


def generate_batch(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop: Collection[int] = (),
) -> Iterator[tuple[int, int]]:
    """Continue several texts at once, in a `Batch`; each becomes what `generate` makes of it alone.

    Args:
        model: Reads all texts in one batch; those too long for its context lose their beginning.
        prompts: The texts so far, of any lengths.
        n_tokens: How many tokens to add to each at most.
        decoding: How each is chosen.
        seeds: One for each prompt.
        stop: Ids that end a text; they are not handed out.

    Yields:
        Which prompt, counted from 0, and its next token.

    Raises:
        ValueError: If there is no prompt or an empty one, not one seed for each, `n_tokens` is
            negative, or a stop token does not exist.
    """
    if not prompts or not all(prompts):
        raise ValueError(f"prompts must be texts of at least one token, got {prompts}")
    if len(seeds) != len(prompts):
        raise ValueError(f"seeds must be one for each of {len(prompts)} prompts, got {len(seeds)}")
    batch = Batch(model)
    for prompt, seed in zip(prompts, seeds, strict=True):
        batch.join(prompt, n_tokens, decoding, seed=seed, stop=stop)

    def steps() -> Iterator[tuple[int, int]]:
        while len(batch):
            yield from batch.step()

    return steps()


def _known(stop: Collection[int], vocab_size: int) -> frozenset[int]:
    for id in stop:
        check("stop", id, 0 <= id < vocab_size, f"ids from 0 to {vocab_size - 1}")
    return frozenset(stop)
