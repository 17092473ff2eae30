"""Precision: products in 16 bits, while weights, averages and the loss stay in 32."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gptspec.checks import check, check_at_least

Precision = Literal["float32", "bfloat16"]
ROWS = 256  # of the products that are timed
GAIN = 1.1  # a smaller gain is not worth the digits


@contextmanager
def mixed(precision: str, device: torch.device | str) -> Iterator[None]:
    """In the block matrix products of float32 numbers are taken in this precision.

    With bfloat16 both factors are rounded, and so is the result; the sums inside a product are
    taken in float32. What is no product, and what is float64, stays as it is. With float32 nothing
    is rounded, also where a block around this one asks for it.

    Args:
        precision: float32 or bfloat16.
        device: Where the numbers are.

    Raises:
        ValueError: If the precision is another.

    Examples:
        >>> weight = torch.tensor([[1.001]], dtype=torch.float32)
        >>> with mixed("bfloat16", "cpu"):
        ...     (weight @ weight).item(), round((weight + weight).item(), 4)
        (1.0, 2.002)

    Source:
        Micikevicius et al. 2018, section 3; the lists of PyTorch's `autocast` say what is a
        product.
    """
    known = get_args(Precision)
    check("precision", precision, precision in known, f"one of {', '.join(known)}")
    rounds = precision == "bfloat16"
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=rounds):
        yield


def measure(
    shape: tuple[int, int], precision: Precision, *, rows: int, device: torch.device
) -> float:
    """Return the seconds that a linear layer takes, forward and backward, at its best of three.

    Args:
        shape: Width of what it returns, and of what it reads.
        precision: In which it works.
        rows: Vectors that it reads.
        device: Where.
    """
    weight = torch.ones(shape, dtype=torch.float32, device=device, requires_grad=True)
    x = torch.ones(rows, shape[1], dtype=torch.float32, device=device, requires_grad=True)
    taken = []
    for _ in range(3):
        _wait(device)
        start = time.perf_counter()
        with torch.enable_grad(), mixed(precision, device):
            y = nn.functional.linear(x, weight)
        torch.autograd.grad(y, (x, weight), torch.ones_like(y))
        _wait(device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":  # which works on while Python goes ahead
        torch.cuda.synchronize(device)


def choose(
    model: nn.Module, *, rows: int = ROWS, seconds: Callable[..., float] = measure
) -> Precision:
    """Return the precision in which this machine takes the products of a model faster.

    Each shape of matrix is timed once in each precision, the smallest first. A processor without
    instructions for bfloat16 needs up to a hundred times as long: when it is twice behind, the
    rest is not waited for.

    Args:
        model: Its linear layers are what counts; they are left as they are.
        rows: Vectors that a product reads.
        seconds: Times a product; called as `measure` is.

    Raises:
        ValueError: If `rows` is below 1.

    Examples:
        >>> quick = {"float32": 3.0, "bfloat16": 1.0}
        >>> choose(nn.Linear(2, 3), seconds=lambda shape, precision, **_: quick[precision])
        'bfloat16'
    """
    check_at_least(1, rows=rows)
    weights: list[Tensor] = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    total: dict[Precision, float] = {"float32": 0.0, "bfloat16": 0.0}
    counts = Counter((weight.shape[0], weight.shape[1], weight.device) for weight in weights)
    for (*shape, device), count in sorted(counts.items(), key=lambda item: item[0][0] * item[0][1]):
        for precision in total:
            taken = seconds(tuple(shape), precision, rows=rows, device=device)
            total[precision] += count * taken
        if total["bfloat16"] > 2 * total["float32"]:
            break
    return "bfloat16" if total["bfloat16"] * GAIN < total["float32"] else "float32"
