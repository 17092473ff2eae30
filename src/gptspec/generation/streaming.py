"""Streaming: text as it is written, to one reader or to many at once."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import torch

from gptspec.checks import check, check_at_least
from gptspec.generation.decoding import Decoding, generate, next_logits, sample, seeded
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


def generate_batch(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop: Collection[int] = (),
) -> Iterator[tuple[int, int]]:
    """Continue several texts at once; each becomes what `generate` makes of it alone.

    All texts are read in step from their first token on, so nothing has to be padded: where a
    prompt is longer than others its own tokens follow, while the others already write.

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
    check_at_least(0, n_tokens=n_tokens)
    stop = _known(stop, model.config.vocab_size)
    device = next(model.parameters()).device
    generators = [seeded(seed, device) for seed in seeds]
    prompts = [list(prompt) for prompt in prompts]  # theirs may change while we write

    def steps() -> Iterator[tuple[int, int]]:
        cache = model.new_cache()
        time = min(map(len, prompts))
        texts = torch.tensor([prompt[:time] for prompt in prompts], device=device)
        unfinished = set(range(len(prompts))) if n_tokens else set()
        while unfinished:
            logits = next_logits(model, texts, cache)
            column = [prompt[time] if time < len(prompt) else 0 for prompt in prompts]
            for row in sorted(unfinished):
                if time < len(prompts[row]):
                    continue  # its prompt goes on
                token = int(sample(logits[row], decoding, generators[row], texts[row]))
                column[row] = token
                if token in stop or time + 1 == len(prompts[row]) + n_tokens:
                    unfinished.remove(row)
                if token not in stop:
                    yield row, token
            texts = torch.cat([texts, torch.tensor(column, device=device)[:, None]], dim=-1)
            time += 1

    return steps()


def _known(stop: Collection[int], vocab_size: int) -> frozenset[int]:
    for id in stop:
        check("stop", id, 0 <= id < vocab_size, f"ids from 0 to {vocab_size - 1}")
    return frozenset(stop)
