"""Evaluation: how well a model knows a text, next to what knows nothing of language."""

import gzip
import lzma
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptspec.gpt.model import GPT
from gptspec.tokenization.bpe import BPE
from gptspec.training.loss import bits_per_byte, perplexity, token_nll

BOUNDARY = b"\0"  # ends each document for those who read bytes, as a token does for the model


def surprises(
    model: GPT, ids: Int[Tensor, "n_tokens"], *, stride: int | None = None, batch_size: int = 16
) -> Float[Tensor, "n_scored"]:
    """Return what each token after the first costs, in nats, each scored once.

    The text is read in windows as long as the context, which start `stride` tokens apart. What
    an earlier window has scored is only context in the next, so apart from the first window
    each token is guessed from at least `context_length - stride + 1` tokens. The last window is
    moved back to end with the text.

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
        >>> surprises(model, torch.tensor([0, 1, 2, 3]), stride=1)
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
    costs = []
    for first in range(0, len(starts), batch_size):
        places = starts[first : first + batch_size, None] + column
        cost = token_nll(model.read(ids[places]), ids[places + 1])
        costs.append(cost[column >= length - fresh[first : first + batch_size, None]])
    return torch.cat(costs).to(home)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a text costs a model.

    Args:
        nats: The surprise of the whole text.
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
        stride: See `surprises`.
        batch_size: See `surprises`.

    Raises:
        ValueError: If the documents hold no text, and as `surprises`.
    """
    n_bytes, end = _size(documents), tokenizer.end_of_text
    ids = [end, *(id for text in documents for id in [*tokenizer.encode(text), end])]
    costs = surprises(model, torch.tensor(ids), stride=stride, batch_size=batch_size)
    return Score(nats=costs.double().sum().item(), n_tokens=len(costs), n_bytes=n_bytes)


# --- What knows nothing of language ---


def gzip_bits_per_byte(documents: Sequence[str]) -> float:
    """Return what `gzip -9` needs: repeats within the last 32 KiB, and frequent bytes in few bits.

    Raises:
        ValueError: If the documents hold no text.
    """
    n_bytes = _size(documents)
    return 8 * len(gzip.compress(_joined(documents), 9, mtime=0)) / n_bytes


def xz_bits_per_byte(documents: Sequence[str], primed: Sequence[str] = ()) -> float:
    """Return what `xz -9e` needs, alone or after `primed`, which it has seen for nothing.

    The dictionary of `-9` is 64 MiB, so a text below that size stays in reach as a whole.

    Raises:
        ValueError: If the documents hold no text.
    """
    n_bytes = _size(documents)
    before, text = _joined(primed), _joined(documents)
    return 8 * (_xz(before + text) - (_xz(before) if before else 0)) / n_bytes


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


class NGram:
    """A model that counted which byte follows which few bytes.

    Each order is blended with the one below by Witten and Bell's rule: the more kinds of byte
    followed a context, the likelier is one that never did. Below the single bytes stands an even
    guess, so nothing is impossible.

    Args:
        documents: The text to count, read as one stream.
        order: Length of what is counted: a byte and the `order - 1` before it.

    Raises:
        ValueError: If `order` is below 1.

    Examples:
        >>> model = NGram(["ab" * 500], order=3)
        >>> round(model.probability(b"ab", ord("a")), 3)
        0.998
        >>> round(model.bits_per_byte(["ab" * 500]), 2)
        0.01

    Source:
        Witten & Bell 1991, method C.
    """

    def __init__(self, documents: Sequence[str], *, order: int = 6) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        text = _joined(documents)
        self._seen: Counter[bytes] = Counter()
        for width in range(1, order + 1):
            ends = range(width, len(text) + 1)
            self._seen.update(map(text.__getitem__, map(slice, range(len(text)), ends)))
        self._kinds = Counter(gram[:-1] for gram in self._seen)  # different bytes that followed
        self._followed: Counter[bytes] = Counter()  # how often any did
        for gram, times in self._seen.items():
            self._followed[gram[:-1]] += times

    def probability(self, before: bytes, byte: int) -> float:
        """Return how probable `byte` is after the bytes `before`."""
        probability = 1 / 256
        for width in range(min(self.order, len(before) + 1)):
            context = before[len(before) - width :]
            if not (kinds := self._kinds[context]):
                break  # nothing longer was seen either
            times = self._seen[context + bytes([byte])]
            probability = (times + kinds * probability) / (self._followed[context] + kinds)
        return probability

    def bits_per_byte(self, documents: Sequence[str]) -> float:
        """Return what the documents cost, read as one stream.

        Raises:
            ValueError: If they hold no text.
        """
        n_bytes = _size(documents)
        text, reach = _joined(documents), self.order - 1
        bits = (
            -math.log2(self.probability(text[max(at - reach, 0) : at], byte))
            for at, byte in enumerate(text)
        )
        return sum(bits) / n_bytes


def _joined(documents: Sequence[str]) -> bytes:
    return b"".join(document.encode() + BOUNDARY for document in documents)


def _size(documents: Sequence[str]) -> int:
    size = sum(len(document.encode()) for document in documents)
    if size == 0:
        raise ValueError("documents must hold a text, got none: there is nothing to score")
    return size


# --- Questions with given answers ---


def answer_nats(model: GPT, question: Sequence[int], answer: Sequence[int]) -> float:
    """Return what an answer costs after a question; the question itself costs nothing.

    Args:
        model: Reads in evaluation mode; a question too long loses its beginning.
        question: At least one id, for example the end-of-text token.
        answer: At least one id, at most the context length.

    Raises:
        ValueError: If either is empty, or the answer does not fit the context.
    """
    context_length = model.config.context_length
    if not question:
        raise ValueError("question is empty, []: begin with the end-of-text token")
    if not 1 <= len(answer) <= context_length:
        raise ValueError(
            f"answer must have from 1 to context_length {context_length} tokens, got {len(answer)}"
        )
    ids = torch.tensor([*question, *answer], device=next(model.parameters()).device)
    logits = model.read(ids[:-1][-context_length:])[-len(answer) :]
    return token_nll(logits, ids[-len(answer) :]).sum().item()


def choose(
    model: GPT, tokenizer: BPE, question: str, answers: Sequence[str], *, per_byte: bool = True
) -> int:
    """Return which answer the model finds likeliest after a question, the first of equals.

    Args:
        model: What is asked.
        tokenizer: The one that the model was trained with.
        question: The text before each answer.
        answers: As they stand in a text: where words are separated, each begins with a space.
        per_byte: Whether an answer's cost is divided by its length, so that long ones have a
            chance.

    Raises:
        ValueError: If there are no answers, or one is empty or does not fit the context.
    """
    if not answers:
        raise ValueError("answers is empty, []: there is nothing to choose from")
    asked = [tokenizer.end_of_text, *tokenizer.encode(question)]
    costs = [answer_nats(model, asked, tokenizer.encode(answer)) for answer in answers]
    if per_byte:
        costs = [cost / len(answer.encode()) for cost, answer in zip(costs, answers, strict=True)]
    return costs.index(min(costs))
