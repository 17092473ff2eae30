"""What the laws of embeddings, positions, norms and feed-forward layers share."""

import copy
import gc
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing._comparison import default_tolerances

from attending import must_run, size
from gptspec.attention.grouped_query import repeat_heads
from gptspec.attention.multihead import merge_heads, split_heads
from gptspec.attention.sliding_window import window_mask
from gptspec.gpt.config import GPTConfig
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


class Steps(TorchFunctionMode):
    """Notes each result on the way to a last one, where code in 16 bits may round."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.requires_grad and not found.is_leaf:
            self.seen.append(found)
        return found


def in_halves(module: nn.Module, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Return a module in 16 bits, and the same numbers in float64."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.to(dtype))
    return copy.deepcopy(module).to(dtype), module.double()


def assert_rounded_by_steps(
    half: Tensor, formula: Callable[[], Tensor], *, roundings: float = 2
) -> None:
    """The output that is farthest off is so by what rounding each step of a formula explains.

    A step that is off by a share of itself moves the output by this share of its gradient.

    Args:
        half: Computed in 16 bits.
        formula: Computes the same in float64, of parameters that require gradients.
        roundings: How often code may round where the formula has one step.
    """
    with Steps() as steps:
        exact = formula()
    assert half.shape == exact.shape
    if not exact.numel():
        return
    off = (half.double() - exact).abs().flatten()
    worst = off.argmax()  # NaN counts as the largest
    slopes = torch.autograd.grad(
        exact.flatten()[worst], steps.seen, allow_unused=True, materialize_grads=True
    )
    kind = torch.finfo(half.dtype)
    moved = sum(
        ((step.abs().nan_to_num(posinf=0) + kind.smallest_normal) * slope.abs()).sum().item()
        for step, slope in zip(steps.seen, slopes, strict=True)
    )
    bound, error = roundings * kind.eps / 2 * moved, off[worst].item()
    assert error <= bound, f"off by {error:.3g}, where rounding explains {bound:.3g}"


def linear(part: Any, x: Tensor) -> Tensor:
    return F.linear(x, part.weight, part.bias)


def normalized(norm: Any, x: Tensor, config: GPTConfig) -> Tensor:
    """Return what a norm makes of vectors, from its weights alone."""
    if config.norm == "rms":
        return F.rms_norm(x, norm.weight.shape, norm.weight, config.norm_eps)
    return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, config.norm_eps)


def attended(
    attention: Any, x: Tensor, config: GPTConfig, turn: Any = None, bias: Tensor | None = None
) -> Tensor:
    """Return what an attention reads, by the formula."""
    n_kv_heads = config.n_kv_heads or config.n_heads
    queries = split_heads(linear(attention.query, x), config.n_heads)
    keys, values = (
        split_heads(linear(part, x), n_kv_heads) for part in (attention.key, attention.value)
    )
    if turn is not None:
        queries, keys = turn(queries), turn(keys)
    keys, values = (repeat_heads(part, config.n_heads // n_kv_heads) for part in (keys, values))
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    scores = scores if bias is None else scores + bias
    mask = window_mask(x.shape[-2], x.shape[-2], config.window)
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    return linear(attention.output, merge_heads(weights @ values))


def fed_forward(inner: Any, x: Tensor, config: GPTConfig) -> Tensor:
    """Return what a feed-forward makes of vectors, from its weights alone."""
    if config.feed_forward == "swiglu":
        return linear(inner.down, F.silu(linear(inner.gate, x)) * linear(inner.up, x))
    return linear(inner.down, F.gelu(linear(inner.up, x), approximate="tanh"))


def block_by_formula(
    block: Any, x: Tensor, config: GPTConfig, turn: Any = None, bias: Tensor | None = None
) -> Tensor:
    """Return what a block makes of vectors, from its weights alone."""
    seen = normalized(block.attention_norm, x, config)
    middle = x + attended(block.attention, seen, config, turn, bias)
    seen = normalized(block.feed_forward_norm, middle, config)
    return middle + fed_forward(block.feed_forward, seen, config)


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
