"""Speculative decoding: a small model drafts, and the large one corrects in a single reading."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.generation.decoding import Decoding, distribution
from gptspec.gpt.model import GPT


def outcomes(
    target: Float[Tensor, "n_next vocab"],
    draft: Float[Tensor, "n_drafted vocab"],
    drafted: Int[Tensor, "n_drafted"],
) -> Float[Tensor, "n_next vocab"]:
    """Return how probable it is that the first `row` drafted tokens stand and `column` follows.

    A drafted token stands with the share of its probability that the target grants, at most 1.
    Where the first one falls, a token follows that the draft has offered too rarely; where none
    falls, the target says what follows.

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
    places = drafted[:, None]
    granted = target[:-1].gather(-1, places) / draft.gather(-1, places)
    accept = granted.clamp(max=1)
    lack = (target[:-1] - draft).clamp(min=0)
    # Where both agree nothing is lacking, and nothing falls: 0 of any distribution.
    instead = lack / lack.sum(-1, keepdim=True).clamp(min=torch.finfo(lack.dtype).tiny)
    stand = torch.cat([accept.new_ones(1, 1), accept]).cumprod(0)
    return stand * torch.cat([(1 - accept) * instead, target[-1:]])


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

    Each reading of the model yields at least one token, and at most `n_drafted + 1`.

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
        ValueError: If `ids` is empty, `n_tokens` is negative, `n_drafted` is below 1, or the two
            models do not have the same vocabulary size.
    """
    text = torch.tensor(list(ids), dtype=torch.long, device=next(model.parameters()).device)
    if not len(text):
        raise ValueError("ids is empty, []: begin with a prompt, or with the end-of-text token")
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be 0 or above, got {n_tokens}")
    if n_drafted < 1:
        raise ValueError(f"n_drafted must be at least 1, got {n_drafted}")
    vocab_size = model.config.vocab_size
    if draft.config.vocab_size != vocab_size:
        raise ValueError(
            "draft must have the model's vocabulary, "
            f"got vocab_size {draft.config.vocab_size} instead of {vocab_size}"
        )
    generator = torch.Generator(text.device).manual_seed(seed)

    def steps() -> Iterator[int]:
        nonlocal text
        end = len(text) + n_tokens
        while len(text) < end:
            room = max(model.config.context_length - len(text), 0)
            ahead = min(n_drafted, end - len(text) - 1, room)
            added = _step(model, draft, text, ahead, decoding=decoding, generator=generator)
            text = torch.cat([text, added])
            yield from added.tolist()

    return steps()


def _step(
    model: GPT,
    draft: GPT,
    text: Int[Tensor, "time"],
    ahead: int,
    *,
    decoding: Decoding,
    generator: torch.Generator,
) -> Int[Tensor, "n_added"]:
    offered, read = [], text
    for _ in range(ahead):
        offered.append(next_distributions(draft, read, 1, decoding))
        read = torch.cat([read, _draw(offered[-1], generator)])
    drafted = read[len(text) :]
    target = next_distributions(model, read, ahead + 1, decoding)
    joint = outcomes(target, torch.cat([target[:0], *offered]), drafted)
    stand, follows = divmod(_draw(joint.view(1, -1), generator).item(), joint.shape[-1])
    return torch.cat([drafted[:stand], drafted.new_tensor([follows])])


def _draw(
    probabilities: Float[Tensor, "batch choices"], generator: torch.Generator
) -> Int[Tensor, "batch"]:
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def next_distributions(
    model: GPT, text: Int[Tensor, "time"], count: int, decoding: Decoding
) -> Float[Tensor, "count vocab"]:
    """Return from which distributions the last `count` tokens' successors are drawn.

    One reading in evaluation mode, of as much of the text's end as the model can read.
    """
    logits = model.read(text[-model.config.context_length :])[-count:]
    ends = range(len(text) - count + 1, len(text) + 1)
    rows = [distribution(row, decoding, text[:end]) for row, end in zip(logits, ends, strict=True)]
    return torch.stack(rows)
