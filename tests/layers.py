"""What the laws of embeddings, positions, norms and feed-forward layers share."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing._comparison import default_tolerances

from attending import must_run, size
from strategies import assert_close, assert_same_on_views, gradients, keeps, owned, sequences

LARGE = (2, 1100, 96)  # batch, time, d_model


def large(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers of one decimal in a shape as large as real ones."""
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    numbers = torch.randn(shape or LARGE, generator=source, dtype=torch.float32)
    return numbers.mul(10).round().div(10).to(torch.get_default_dtype())


def long_sequences(**axes: Any) -> st.SearchStrategy[Tensor]:
    """Draw short sequences, and some of 600 vectors: more than bfloat16 can count."""
    return sequences(time=st.sampled_from([1, 2, 3, 5, 600]), **axes)


def rounding(count: float, largest: float | Tensor) -> dict[str, float]:
    """Return tolerances that allow for roundings in the default type, and never less than usual.

    Args:
        count: How many roundings follow one another on the way to a result, on both sides.
        largest: The largest number that is rounded, or a tensor that holds it.
    """
    dtype = torch.get_default_dtype()
    rtol, atol = default_tolerances(dtype)
    number = size(largest) if isinstance(largest, Tensor) else largest
    return {"rtol": rtol, "atol": max(atol, count * torch.finfo(dtype).eps / 2 * number)}


def assert_same_gradients(ours: Tensor, theirs: Tensor, *about: Tensor | nn.Module) -> None:
    """Two ways to the same numbers have the same gradients, of tensors and of all parameters.

    They are judged to a share of the largest one: sums may be taken in another order.
    """
    assert_close(ours, theirs)
    for part in about:
        if isinstance(part, nn.Module):
            assert all(one.requires_grad for one in part.parameters()), "a parameter is frozen"
    pairs = zip(gradients(ours, *about), gradients(theirs, *about), strict=True)
    for one, other in pairs:
        assert_close(one, other, rtol=1e-7, atol=1e-9 * max(100, size(other)))


def assert_pure(call: Callable[[Tensor], Tensor], x: Tensor, *rest: Tensor | nn.Module) -> None:
    """A result depends on the numbers of x alone, and belongs to the caller.

    Neither x nor the rest changes, nor any random state.
    """
    with keeps(x, *rest), must_run("it cannot read what lies so in memory"):
        owned(lambda: call(x))
        assert_same_on_views(call, x)
        expanded = x.expand(2, *x.shape)
        assert_close(call(expanded), call(expanded.clone(memory_format=torch.contiguous_format)))


def assert_normal(weight: Tensor, deviation: float) -> None:
    """Numbers are drawn from a normal distribution: within 6 standard errors, in three ways.

    Their deviation, their mean, and the share of those farther out than two deviations.
    """
    z = weight.detach().double().flatten() / deviation
    error = len(z) ** -0.5
    assert abs(z.std().item() - 1) < 6 * error / 2**0.5, "deviation"
    assert abs(z.mean().item()) < 6 * error, "mean"
    far = 0.0455
    share = (z.abs() > 2).double().mean().item()
    assert abs(share - far) < 6 * error * (far * (1 - far)) ** 0.5, "share of the far ones"


def assert_bounded(call: Callable[[int], object], calls: int = 300) -> None:
    """Calls that all differ leave tensors of less than half of them behind."""
    before = _n_tensors()
    for n in range(calls):
        call(n)
    kept = _n_tensors() - before
    assert kept < calls / 2, f"{kept} tensors are kept after {calls} calls"


def _n_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(one), Tensor) for one in gc.get_objects())
