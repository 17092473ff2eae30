"""Simplified attention: every token becomes a mix of all tokens, the similar ones first."""

from jaxtyping import Float
from torch import Tensor


def attention_weights(x: Float[Tensor, "*batch time d_model"]) -> Float[Tensor, "*batch time time"]:
    """Return how much each token (row) reads from each token (column).

    The score of two tokens is their dot product; a softmax turns the scores of a row into shares.

    Examples:
        Two tokens at a right angle read themselves e = 2.718 times as much as each other.

        >>> import torch
        >>> attention_weights(torch.eye(2))
        tensor([[0.7311, 0.2689],
                [0.2689, 0.7311]])
    """
    scores = x @ x.mT
    return scores.softmax(dim=-1)


def attend(x: Float[Tensor, "*batch time d_model"]) -> Float[Tensor, "*batch time d_model"]:
    """Return for each token the mean of all tokens, weighted by how much it reads them.

    Examples:
        Each token has moved a little towards the other.

        >>> import torch
        >>> attend(torch.eye(2))
        tensor([[0.7311, 0.2689],
                [0.2689, 0.7311]])
    """
    return attention_weights(x) @ x
