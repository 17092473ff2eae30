"""Windows: one long row of tokens cut into inputs and their targets."""

from jaxtyping import Int
from torch import Tensor


def count(n_tokens: int, context_length: int, stride: int) -> int:
    """Return how many windows fit into a text.

    Args:
        n_tokens: Length of the text.
        context_length: Tokens a window reads; its last target needs one token more.
        stride: Tokens from the start of one window to the start of the next.

    Raises:
        ValueError: If `context_length` or `stride` is below 1, or if not one window fits.

    Examples:
        >>> count(10, context_length=4, stride=4)
        2
        >>> count(10, context_length=4, stride=1)
        6
    """
    for name, value in (("context_length", context_length), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    short = context_length + 1 - n_tokens
    if short > 0:
        raise ValueError(
            f"the text has {n_tokens} tokens, {short} too few for a window of context_length "
            f"{context_length} and its last target: give more text or a shorter context_length"
        )
    return (n_tokens - context_length - 1) // stride + 1


def window(
    tokens: Int[Tensor, "n_tokens"], index: int, context_length: int, stride: int
) -> tuple[Int[Tensor, "time"], Int[Tensor, "time"]]:
    """Return the inputs and targets of one window, as views of the tokens.

    Raises:
        ValueError: As `count`, or if `tokens` is not one row.
        IndexError: If there is no window `index`.

    Examples:
        >>> import torch
        >>> window(torch.arange(10), 1, context_length=4, stride=4)
        (tensor([4, 5, 6, 7]), tensor([5, 6, 7, 8]))
    """
    n_windows = count(_length(tokens), context_length, stride)
    if not 0 <= index < n_windows:
        raise IndexError(f"index must be from 0 to {n_windows - 1}, got {index}")
    start = index * stride
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end + 1]


def windows(
    tokens: Int[Tensor, "n_tokens"], context_length: int, stride: int
) -> tuple[Int[Tensor, "n_windows time"], Int[Tensor, "n_windows time"]]:
    """Return the inputs and targets of all windows, as views of the tokens.

    Views copy nothing: a text far larger than memory may stay on disk.

    Raises:
        ValueError: As `count`, or if `tokens` is not one row.

    Examples:
        >>> import torch
        >>> inputs, targets = windows(torch.arange(6), context_length=3, stride=2)
        >>> inputs
        tensor([[0, 1, 2],
                [2, 3, 4]])
        >>> targets
        tensor([[1, 2, 3],
                [3, 4, 5]])
    """
    count(_length(tokens), context_length, stride)
    runs = tokens.unfold(0, context_length + 1, stride)
    return runs[:, :-1], runs[:, 1:]


def _length(tokens: Tensor) -> int:
    if tokens.ndim != 1:
        raise ValueError(f"tokens must be one row of ids, got shape {tuple(tokens.shape)}")
    return len(tokens)
