"""Likelihood: what a text costs a model, token by token, in nats and in bits per byte."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.gpt.model import GPT
from gptspec.tokenization.bpe import BPE
from gptspec.training.loss import bits_per_byte, perplexity, token_nll


def token_nlls(
    model: GPT, ids: Int[Tensor, "n_tokens"], *, stride: int | None = None, batch_size: int = 16
) -> Float[Tensor, "n_scored"]:
    """Return the negative log-likelihood of each token after the first, in nats.

    Each token is scored once. The text is read in windows as long as the context, which start
    `stride` tokens apart. What an earlier window has scored is only context in the next, so apart
    from the first window each token is guessed from at least `context_length - stride + 1` tokens.
    The last window is moved back to end with the text.

    Args:
        model: Reads in evaluation mode.
        ids: The text, often after an end-of-text token, so that its first token is scored too.
        stride: Tokens that a window adds; the context length if None, without any overlap.
        batch_size: Windows read at one time.

    Raises:
        ValueError: If there are fewer than two tokens, or `stride` or `batch_size` is out of range.

    Examples:
        An untrained head that is all zeros finds all tokens equally likely.

        >>> from gptspec.gpt.model import GPTConfig
        >>> shape = GPTConfig(vocab_size=4, context_length=2, d_model=2, n_layers=1, n_heads=1)
        >>> model = GPT(shape)
        >>> _ = torch.nn.init.zeros_(model.head.weight)
        >>> token_nlls(model, torch.tensor([0, 1, 2, 3]), stride=1)
        tensor([1.3863, 1.3863, 1.3863])

    Source:
        Press et al. 2021, section 2: evaluation in sliding windows.
    """
    context_length = model.config.context_length
    stride = context_length if stride is None else stride
    n_scored = len(ids) - 1
    if n_scored < 1:
        raise ValueError(f"ids must hold at least 2 tokens, got {len(ids)}: one to guess the next")
    if not 1 <= stride <= context_length:
        raise ValueError(
            f"stride must be from 1 to context_length {context_length}, got {stride}: "
            "a longer one leaves tokens out"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    home, ids = ids.device, ids.to(next(model.parameters()).device)
    length = min(context_length, n_scored)
    starts = torch.tensor(
        [*range(0, n_scored - length, stride), n_scored - length], device=ids.device
    )
    fresh = starts.diff(prepend=starts[:1] - length)  # targets that no earlier window has scored
    column = torch.arange(length, device=ids.device)
    nlls = []
    for first in range(0, len(starts), batch_size):
        places = starts[first : first + batch_size, None] + column
        nll = token_nll(model.read(ids[places]), ids[places + 1])
        nlls.append(nll[column >= length - fresh[first : first + batch_size, None]])
    return torch.cat(nlls).to(home)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a text costs a model.

    Args:
        nats: The negative log-likelihood of the whole text.
        n_tokens: Tokens that were guessed, the end of each document among them.
        n_bytes: Length of the documents in UTF-8.
    """

    nats: float
    n_tokens: int
    n_bytes: int

    @property
    def perplexity(self) -> float:
        """Equally likely tokens among which the model hesitates; depends on the tokenizer."""
        return perplexity(self.nats / self.n_tokens)

    @property
    def bits_per_byte(self) -> float:
        """What a byte costs; comparable between all models and compressors."""
        return bits_per_byte(self.nats / self.n_tokens, self.n_tokens, self.n_bytes)


def score(
    model: GPT,
    tokenizer: BPE,
    documents: Sequence[str],
    *,
    stride: int | None = None,
    batch_size: int = 16,
) -> Score:
    """Score documents as one stream, each followed by the end-of-text token.

    The stream begins with that token too, given and not scored: every token has something
    before it.

    Args:
        model: What is asked.
        tokenizer: The one that the model was trained with.
        documents: The texts.
        stride: See `token_nlls`.
        batch_size: See `token_nlls`.

    Raises:
        ValueError: If the documents hold no text, and as `token_nlls`.
    """
    n_bytes, end = count_bytes(documents), tokenizer.end_of_text
    ids = [end, *(id for text in documents for id in [*tokenizer.encode(text), end])]
    nlls = token_nlls(model, torch.tensor(ids), stride=stride, batch_size=batch_size)
    return Score(nats=nlls.double().sum().item(), n_tokens=len(nlls), n_bytes=n_bytes)


def count_bytes(documents: Sequence[str]) -> int:
    """Return how many bytes of UTF-8 the documents have together, without any boundary.

    Raises:
        ValueError: If the documents hold no text.

    Examples:
        >>> count_bytes(["naïve", "text"])
        10
    """
    size = sum(len(document.encode()) for document in documents)
    if size == 0:
        raise ValueError("documents must hold a text, got none: there is nothing to score")
    return size
