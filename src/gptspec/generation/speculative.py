"""Speculative decoding: a small model drafts, and the large one corrects in a single reading."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.attention.cache import Cache
from gptspec.checks import check_at_least
from gptspec.generation.decoding import Decoding, distribution, prompt_of, seeded
from gptspec.gpt.model import GPT


def outcomes(
    target: Float[Tensor, "n_next vocab"],
    draft: Float[Tensor, "n_drafted vocab"],
    drafted: Int[Tensor, "n_drafted"],
) -> Float[Tensor, "n_next vocab"]:
    """Return how probable it is that the first `row` drafted tokens are kept and `column` follows.

    A drafted token is accepted with the probability target / draft, at most 1. The first one that
    is rejected is replaced by a token that the draft offers too rarely; if none is rejected, the
    next token is drawn from the target.

    Args:
        target: The target's distribution at each drafted token, and after the last.
        draft: The distributions that the drafted tokens were drawn from.
        drafted: The tokens.

    Examples:
        The draft said token 0, which it found certain and the target finds a coin toss.

        >>> target = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
        >>> outcomes(target, torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
        tensor([[0.0000, 0.5000],
                [0.4500, 0.0500]])

    Source:
        Leviathan et al. 2023, algorithm 1.
    """
    places = drafted[:, None].long()
    ratio = target[:-1].gather(-1, places) / draft.gather(-1, places)
    accepted = ratio.clamp(max=1)
    residual = (target[:-1] - draft).clamp(min=0)
    # Where both agree the residual is 0, and nothing is rejected: 0 of any distribution.
    least = torch.finfo(residual.dtype).tiny
    replacement = residual / residual.sum(-1, keepdim=True).clamp(min=least)
    kept = torch.cat([accepted.new_ones(1, 1), accepted]).cumprod(0)
    return kept * torch.cat([(1 - accepted) * replacement, target[-1:]])


def generate(
    model: GPT,
    draft: GPT,
    ids: Iterable[int],
    n_tokens: int,
    decoding: Decoding,
    *,
    seed: int,
    n_drafted: int = 4,
) -> Iterator[int]:
    """Continue a text as `model` would by itself, in fewer of its readings.

    Each reading of the model yields at least one token, and at most `n_drafted + 1`. Both models
    read through caches, from which rejected guesses are taken back.

    Args:
        model: The target, whose text this is.
        draft: A cheaper model over the same vocabulary.
        ids: The text so far (the prompt).
        n_tokens: How many tokens to add.
        decoding: How each is chosen, by both models.
        seed: Same seed, same tokens.
        n_drafted: Tokens the draft is ahead; fewer at the end, and none once the text fills the
            target's context, where each token needs a window of its own.

    Raises:
        ValueError: If `ids` is empty, `n_tokens` is negative, `n_drafted` is below 1, `seed` is
            negative or has more than 64 bits, or the models differ in their vocabulary size.
    """
    prompt = prompt_of(model, ids)
    check_at_least(0, n_tokens=n_tokens)
    check_at_least(1, n_drafted=n_drafted)
    vocab_size = model.config.vocab_size
    if draft.config.vocab_size != vocab_size:
        raise ValueError(
            "draft must have the model's vocabulary, "
            f"got vocab_size {draft.config.vocab_size} instead of {vocab_size}"
        )
    generator = seeded(seed, prompt.device)

    def steps() -> Iterator[int]:
        text, end = prompt, len(prompt) + n_tokens
        caches = [each.new_cache(spare=n_drafted + 1) for each in (model, draft)]
        target_reader, draft_reader = (model, caches[0]), (draft, caches[1])
        while len(text) < end:
            room = max(model.config.context_length - len(text), 0)
            ahead = min(n_drafted, end - len(text) - 1, room)
            added = _step(
                target_reader, draft_reader, text, ahead, decoding=decoding, generator=generator
            )
            text = torch.cat([text, added])
            for cache in caches:
                for layer in cache:  # all but the last token, which nobody has read yet
                    layer.truncate(min(layer.time, len(text) - 1))
            yield from added.tolist()

    return steps()


Reader = tuple[GPT, Sequence[Cache]]


def _step(
    target_reader: Reader,
    draft_reader: Reader,
    text: Int[Tensor, "time"],
    ahead: int,
    *,
    decoding: Decoding,
    generator: torch.Generator,
) -> Int[Tensor, "n_added"]:
    offered, read = [], text
    for _ in range(ahead):
        offered.append(next_distributions(*draft_reader, read, 1, decoding))
        read = torch.cat([read, _draw(offered[-1], generator)])
    drafted = read[len(text) :]
    target = next_distributions(*target_reader, read, ahead + 1, decoding)
    joint = outcomes(target, torch.cat([target[:0], *offered]), drafted)
    n_accepted, next_token = divmod(_draw(joint.view(1, -1), generator).item(), joint.shape[-1])
    return torch.cat([drafted[:n_accepted], drafted.new_tensor([next_token])])


def _draw(
    probabilities: Float[Tensor, "batch choices"], generator: torch.Generator
) -> Int[Tensor, "batch"]:
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def next_distributions(
    model: GPT,
    cache: Sequence[Cache],
    text: Int[Tensor, "time"],
    count: int,
    decoding: Decoding,
) -> Float[Tensor, "count vocab"]:
    """Return from which distributions the last `count` tokens' successors are drawn.

    One reading in evaluation mode: of what the cache does not hold yet, or of as much of the
    text's end as the model can read.
    """
    context_length = model.config.context_length
    if len(text) <= context_length:
        logits = model.read(text[cache[0].time :], cache, last=count)
    else:
        logits = model.read(text[-context_length:], last=count)
    ends = range(len(text) - count + 1, len(text) + 1)
    rows = [distribution(row, decoding, text[:end]) for row, end in zip(logits, ends, strict=True)]
    return torch.stack(rows)
