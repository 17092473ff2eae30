"""Loss: the negative log-likelihood of what came next."""

import math
import sys
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.autograd.function import once_differentiable

from gptspec.checks import check_at_least


def token_nll(
    logits: Float[Tensor, "*batch vocab"], targets: Integer[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the negative log-likelihood of each target: -ln of its probability, in nats.

    Half-precision logits are lifted to float32 first: a sum over a vocabulary needs the digits.

    Examples:
        Two choices, equally likely, cost the logarithm of 2 either way.

        >>> token_nll(torch.zeros(2, 2), torch.tensor([0, 1]))
        tensor([0.6931, 0.6931])

    Source:
        Shannon 1948, section 6: information as the logarithm of a probability.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -precise.log_softmax(-1).gather(-1, targets.long()[..., None]).squeeze(-1)


def cross_entropy(
    logits: Float[Tensor, "*batch vocab"], targets: Integer[Tensor, "*batch"], *, ignore: int = -100
) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood of the targets that count, in nats per token.

    Args:
        logits: One score for each token of the vocabulary, at every position.
        targets: The token that truly came next.
        ignore: A target that is not counted, such as padding.

    Raises:
        ValueError: If no target counts, or one is no id of the vocabulary.

    Examples:
        >>> cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, -100]))
        tensor(1.3863)
    """
    targets = targets.long()
    counted = _counted(targets, logits.shape[-1], ignore)
    return token_nll(logits, targets.where(counted, 0))[counted].mean()


def chunked_cross_entropy(
    x: Float[Tensor, "*batch d_model"],
    head: Float[Tensor, "vocab d_model"],
    targets: Integer[Tensor, "*batch"],
    *,
    chunk: int = 512,
    ignore: int = -100,
) -> Float[Tensor, ""]:
    """Return `cross_entropy(x @ head.T, targets)` without ever holding all its logits.

    Args:
        x: What the model's last norm returns.
        head: The weight that turns a vector into logits.
        targets: The token that truly came next.
        chunk: Positions whose logits exist at one time.
        ignore: A target that is not counted, such as padding.

    Raises:
        ValueError: If `chunk` is below 1, no target counts, or one is no id of the vocabulary.

    Examples:
        >>> chunked_cross_entropy(torch.zeros(3, 2), torch.ones(4, 2), torch.arange(3), chunk=2)
        tensor(1.3863)
    """
    check_at_least(1, chunk=chunk)
    counted = _counted(targets.long(), len(head), ignore)
    ids = targets[counted].long()
    total: Tensor = _HeadLoss.apply(x[counted], head, ids, chunk)  # type: ignore[no-untyped-call]
    return total / len(ids)


class _HeadLoss(torch.autograd.Function):
    """The sum of `token_nll(x @ head.T, ids)`; the gradient is made along with it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, ids: Tensor, chunk: int) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        cost = torch.zeros((), dtype=wide, device=x.device)
        to_x, to_head = torch.empty_like(x), torch.zeros_like(head)
        for start in range(0, len(ids), chunk):
            part = slice(start, start + chunk)
            logits = F.linear(x[part], head)
            right = ids[part, None]
            shifted = logits.to(wide) - logits.amax(-1, keepdim=True)
            chosen = shifted.gather(-1, right)
            guess = shifted.exp_()  # in place: a chunk stays in the processor's caches
            total = guess.sum(-1, keepdim=True)
            cost += (total.log() - chosen).sum()
            # The gradient of a logit: what was guessed, minus 1 where it is true.
            slope = guess.div_(total).scatter_add_(-1, right, -torch.ones_like(total))
            slope = slope.to(logits.dtype)
            to_x[part] = slope @ head
            to_head += slope.mT @ x[part]
        ctx.save_for_backward(to_x, to_head)
        return cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_x, to_head = ctx.saved_tensors
        return to_x * slope, to_head * slope, None, None


def _counted(targets: Integer[Tensor, "*batch"], vocab: int, ignore: int) -> Bool[Tensor, "*batch"]:
    counted = targets != ignore
    ids = targets[counted]
    if not len(ids):
        raise ValueError(f"targets must hold a token to count, but all are the ignored {ignore}")
    unknown = ids[(ids < 0) | (ids >= vocab)]
    if len(unknown):
        raise ValueError(
            f"targets must be ids from 0 to {vocab - 1}, or {ignore} to be ignored, "
            f"got {unknown[0].item()}"
        )
    return counted


def perplexity(nats: float) -> float:
    """Return how many equally likely tokens would be as hard to predict: e to the loss.

    A loss too large for a float's exponential gives infinity; a loss of NaN gives NaN.

    Examples:
        >>> perplexity(0.0)
        1.0
        >>> round(perplexity(math.log(50)), 6)
        50.0

    Source:
        Jelinek et al. 1977: perplexity as a measure of difficulty.
    """
    return math.inf if nats > math.log(sys.float_info.max) else math.exp(nats)


def bits_per_byte(nats_per_token: float, n_tokens: int, n_bytes: int) -> float:
    """Return what a byte of text costs, in bits, whatever the tokens were.

    Args:
        nats_per_token: Mean cross-entropy over a text.
        n_tokens: Tokens the mean was taken over.
        n_bytes: Length of the same text in UTF-8.

    Raises:
        ValueError: If `n_tokens` or `n_bytes` is below 1.

    Examples:
        Three tokens of 2 bits each, spread over 12 bytes.

        >>> round(bits_per_byte(2 * math.log(2), n_tokens=3, n_bytes=12), 6)
        0.5
    """
    check_at_least(1, n_tokens=n_tokens, n_bytes=n_bytes)
    return nats_per_token * n_tokens / (n_bytes * math.log(2))
