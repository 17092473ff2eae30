"""Rotary positions: queries and keys turn with their place, so only distances show in scores."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from gptspec.checks import check, check_at_least, check_positive

LONGEST_KEPT = 2**16  # positions in a table that is kept


def angles(
    time: int,
    d_head: int,
    *,
    start: int = 0,
    theta: float = 10_000.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "time half"]:
    """Return by how much each pair of features turns at each position, in radians.

    Args:
        time: Number of positions.
        d_head: Width of the vectors to be turned, even, for each pair takes two features.
        start: The first position.
        theta: How slow the slowest pairs are: pair i turns by `theta ** (-2 * i / d_head)` a step.
        dtype: Floating type of the result; the default type if None.
        device: Where the result shall be; the default device if None.

    Raises:
        ValueError: If `d_head` is odd or below 2, if `time` or `start` is negative, or if `theta`
            is not positive and finite.

    Examples:
        The first pair turns by 1 at each step, the second by 0.01.

        >>> angles(3, d_head=4)
        tensor([[0.0000, 0.0000],
                [1.0000, 0.0100],
                [2.0000, 0.0200]])

    Source:
        Su et al. 2021, section 3.2.2.
    """
    check("d_head", d_head, d_head >= 2 and d_head % 2 == 0, "even and at least 2")
    check_at_least(0, time=time, start=start)
    check_positive(theta=theta)
    # float64, since rounding grows with the position; on the CPU, since not every device has it.
    positions = torch.arange(start, start + time, dtype=torch.float64, device="cpu")
    exponents = torch.arange(0, d_head, 2, dtype=torch.float64, device="cpu") / d_head
    return (positions[:, None] / theta**exponents).to(
        device=device or torch.get_default_device(), dtype=dtype or torch.get_default_dtype()
    )


def _table(
    time: int, d_head: int, start: int, theta: float, *, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "time half"], Float[Tensor, "time half"]]:
    """Return the cosine and the sine of every angle."""
    turns = angles(time, d_head, start=start, theta=theta, dtype=torch.float64, device="cpu")
    return turns.cos().to(dtype).to(device), turns.sin().to(dtype).to(device)


@lru_cache(maxsize=8)
def _kept_table(
    time: int, d_head: int, theta: float, *, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "time half"], Float[Tensor, "time half"]]:
    """Return the table of the first positions, kept for the other layers and the next steps."""
    # What is made in inference mode could never be used in training.
    with torch.inference_mode(False):
        return _table(time, d_head, 0, theta, dtype=dtype, device=device)


def _part_of_kept_table(
    time: int, d_head: int, start: int, theta: float, *, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "time half"], Float[Tensor, "time half"]]:
    """Return the same as `_table`, from one that holds all positions up to a power of two."""
    end = start + time
    if end > LONGEST_KEPT or start < 0:
        return _table(time, d_head, start, theta, dtype=dtype, device=device)
    room = max(256, 1 << (end - 1).bit_length())
    cos, sin = _kept_table(room, d_head, theta, dtype=dtype, device=device)
    return cos[start:end], sin[start:end]


def _turn(
    x: Float[Tensor, "*batch time d_head"],
    first: Float[Tensor, "*batch time half"],
    second: Float[Tensor, "*batch time half"],
    start: int,
    theta: float,
) -> tuple[Float[Tensor, "*batch time half"], Float[Tensor, "*batch time half"]]:
    """Return the pairs of x, given by their first and second features, turned by their angles."""
    check("type of x", x.dtype, x.is_floating_point(), "a floating one")
    time, d_head = x.shape[-2:]
    # A compiler's stand-ins for tensors must not be kept, and what is kept must not meet them.
    plain = type(x) is Tensor and not torch.compiler.is_compiling()
    # 16 bits are too few for a cosine near 1, so products are taken in 32, and rounded at the end.
    wide = torch.promote_types(x.dtype, torch.float32)
    table = _part_of_kept_table if plain else _table
    cos, sin = table(time, d_head, start, theta, dtype=wide, device=x.device)
    return first * cos - second * sin, second * cos + first * sin


def rotate(
    x: Float[Tensor, "*batch time d_head"], *, start: int = 0, theta: float = 10_000.0
) -> Float[Tensor, "*batch time d_head"]:
    """Turn each vector by its position; feature i is paired with feature i + d_head / 2.

    Args:
        x: Queries or keys of consecutive tokens.
        start: Position of the first of them: how many tokens came before.
        theta: How slow the slowest pairs are, as in `angles`.

    Raises:
        ValueError: If x is not floating, or as `angles` does.

    Examples:
        >>> rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
        tensor([[ 1.0000,  0.0000],
                [ 0.5403,  0.8415],
                [-0.4161,  0.9093]])

    Source:
        Su et al. 2021, section 3.2; the layout of GPT-NeoX, and of Llama in transformers.
    """
    first, second = x.tensor_split(2, dim=-1)
    return torch.cat(_turn(x, first, second, start, theta), dim=-1).to(x.dtype)


def rotate_interleaved(
    x: Float[Tensor, "*batch time d_head"], *, start: int = 0, theta: float = 10_000.0
) -> Float[Tensor, "*batch time d_head"]:
    """Turn each vector by its position; neighbouring features are paired: 0 and 1, 2 and 3, ...

    Args:
        x: Queries or keys of consecutive tokens.
        start: Position of the first of them: how many tokens came before.
        theta: How slow the slowest pairs are, as in `angles`.

    Raises:
        ValueError: If x is not floating, or as `angles` does.

    Examples:
        >>> rotate_interleaved(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), start=2)
        tensor([[-0.4161,  0.9093,  0.9998,  0.0200]])

    Source:
        Su et al. 2021, section 3.2; the layout of GPT-J, and of Llama as Meta published it.
    """
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack(_turn(x, first, second, start, theta), dim=-1).flatten(-2).to(x.dtype)


def interleaved_to_halves(
    x: Float[Tensor, "*shape"], *, n_heads: int = 1, dim: int = -1
) -> Float[Tensor, "*shape"]:
    """Reorder features laid out for `rotate_interleaved` into the layout of `rotate`.

    Args:
        x: Queries or keys; or, with `dim=0`, the weight or bias of the layer that makes them.
        n_heads: How many heads lie one after the other along the axis; each is reordered alone.
        dim: The axis of the features.

    Raises:
        ValueError: If the axis cannot be cut into `n_heads` heads of even width.

    Examples:
        >>> interleaved_to_halves(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
        tensor([0., 2., 4., 1., 3., 5.])
    """
    width = x.shape[dim]
    fits = n_heads >= 1 and width % (2 * n_heads) == 0
    check("n_heads", n_heads, fits, f"a number that cuts {width} features into even heads")
    pairs = torch.arange(width, device=x.device).view(n_heads, -1, 2)
    return x.index_select(dim, pairs.mT.flatten())
