"""Choice: which of some given answers a model finds likeliest."""

from collections.abc import Sequence

import torch

from gptspec.gpt.model import GPT
from gptspec.tokenization.bpe import BPE
from gptspec.training.loss import token_nll


def answer_nll(model: GPT, question: Sequence[int], answer: Sequence[int]) -> float:
    """Return the negative log-likelihood of an answer after a question, in nats.

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
    costs = [answer_nll(model, asked, tokenizer.encode(answer)) for answer in answers]
    if per_byte:
        costs = [nll / len(answer.encode()) for nll, answer in zip(costs, answers, strict=True)]
    return costs.index(min(costs))
