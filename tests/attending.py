"""What the laws of several kinds of attention share.

A layer is judged by `query`, `key`, `value`, `output` (if it has one), and what it returns.
"""

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from strategies import (
    HALVES,
    HUGE,
    assert_close,
    assert_rounded,
    assert_same,
    assert_same_on_views,
    gradients,
    half_and_exact,
    keeps,
    owned,
    unchecked,
    unwritten,
)

# Roundings on the way to a result. A score: query, key, their product, its scale, the first two
# with a bias. The rest: value, weight, mix, output, the first and the last with a bias.
ROUNDINGS = 6


FAR = min(HUGE, 12)  # as power of 10: code may take its softmax in float32


def shares(
    queries: Tensor, keys: Tensor, *, scale: float | None = None, causal: bool = False
) -> Tensor:
    """Return the weights of attention, as the formula is written."""
    scale = queries.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) * scale
    if causal:
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    return scores.softmax(-1)


def formula(
    attend: nn.Module,
    x: Tensor,
    *,
    n_heads: int = 1,
    n_kv_heads: int | None = None,
    causal: bool = True,
) -> Tensor:
    """Return attention through a layer's projections, as the formula is written, head by head."""
    n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
    queries = attend.query(x).chunk(n_heads, -1)
    keys, values = (read(x).chunk(n_kv_heads, -1) for read in (attend.key, attend.value))
    groups = [head * n_kv_heads // n_heads for head in range(n_heads)]
    mixes = [
        shares(asked, keys[group], causal=causal) @ values[group]
        for asked, group in zip(queries, groups, strict=True)
    ]
    mixed = torch.cat(mixes, -1)
    return attend.output(mixed) if hasattr(attend, "output") else mixed


def size(x: Tensor) -> float:
    """Return the largest number of a tensor without its sign; 0 if it is empty."""
    return x.detach().abs().max().item() if x.numel() else 0.0


def shrunk(x: Tensor) -> Tensor:
    """Return a tensor whose numbers go up to 1."""
    return x / max(1, size(x))


def largest(queries: Tensor, keys: Tensor, values: Tensor | None = None, scale: float = 1) -> float:
    """Return the number of which each rounding of attention may lose a share.

    An error in a score moves every weight of its row by up to twice as much.
    """
    scores = size(queries.abs() @ keys.abs().mT) * abs(scale)
    return (1 if values is None else size(values)) * (1 + 2 * scores)


def largest_of(attend: nn.Module, x: Tensor, n_heads: int = 1) -> float:
    """Return what `largest` does, of a layer."""
    queries, keys, values = (size(part(x)) for part in (attend.query, attend.key, attend.value))
    scores = queries * keys * math.sqrt(len(attend.query.weight) / n_heads)
    found = values * (1 + 2 * scores)
    if isinstance(output := getattr(attend, "output", None), nn.Linear):
        found *= output.weight.detach().abs().sum(-1).max().item()
        found += 0 if output.bias is None else size(output.bias)
    return found


def close(number: float) -> dict[str, float]:
    """Return how far two ways to the same attention may differ, by what `largest` says.

    Both may round, to float32 at least: code may compute its softmax there.
    """
    eps = max(torch.finfo(dtype).eps for dtype in (torch.float32, torch.get_default_dtype()))
    return {"rtol": 0, "atol": ROUNDINGS * eps * max(number, 1)}


def assert_equals_formula(
    call: Callable[[Tensor], Tensor],
    expected: Callable[[Tensor], Tensor],
    x: Tensor,
    *learned: nn.Module,
    within: float,
) -> None:
    """The output is that of a formula, and so are the gradients, of the input and all parameters.

    Code may take its softmax in float32: a gradient is judged to 1/10,000 of its largest number.
    """
    x = x.detach().clone().requires_grad_()
    output, wanted = call(x), expected(x)
    assert_close(output, wanted, **close(within))
    ours, theirs = gradients(output, x, *learned), gradients(wanted, x, *learned)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, rtol=0, atol=1e-4 * max(1, size(other)))


def assert_layer_is_formula(attend: nn.Module, x: Tensor, **heads: Any) -> None:
    """The output of a layer is that of the formula, and so are all gradients."""
    within = largest_of(attend, x, heads.get("n_heads", 1))
    assert_equals_formula(attend, lambda x: formula(attend, x, **heads), x, attend, within=within)


def real_sizes(n_positions: int = 1100, width: int = 96) -> Tensor:
    """Return a text of the size that real ones have."""
    source = torch.Generator(torch.get_default_device()).manual_seed(0)
    return torch.randn(n_positions, width, generator=source, dtype=torch.float32)


def assert_no_future(attend: nn.Module, x: Tensor, other: Tensor, cut: int) -> None:
    """What comes from a position on does not reach what is before, nor does its absence."""
    outputs = attend(x)
    changed = torch.cat([x[..., :cut, :], other[..., cut:, :]], dim=-2)
    assert_close(attend(changed)[..., :cut, :], outputs[..., :cut, :])
    if cut:
        within = largest_of(attend, x)  # of one head, which is at least that of several
        assert_close(attend(x[..., :cut, :]), outputs[..., :cut, :], **close(within))


@contextmanager
def must_run(what: str) -> Iterator[None]:
    """A failure of torch in the block breaks the law: code cannot do what it must."""
    try:
        yield
        return
    except RuntimeError as error:
        if unwritten(error):
            raise
        problem = f"{what}: {error}"
    # Raised out here it has no cause: to Hypothesis another cause would be another failure.
    raise AssertionError(problem)


def assert_pure(call: Callable[..., Tensor], *tensors: Tensor) -> None:
    """A result depends on the numbers of its arguments alone, and these stay as they are."""
    with keeps(*tensors), must_run("it cannot read what lies so in memory"):
        expected = owned(lambda: call(*tensors))
        for place, x in enumerate(tensors):
            before, after = tensors[:place], tensors[place + 1 :]
            assert_same_on_views(lambda x, a=before, z=after: call(*a, x, *z), x)
        expanded = [x.expand(2, *x.shape) for x in tensors]
        copies = [x.clone(memory_format=torch.contiguous_format) for x in expanded]
        assert_close(call(*expanded), call(*copies))
        call(*(torch.cat([x, x], -2) for x in tensors))
        call(*(x[..., :1, :] for x in tensors))
        assert_same(call(*tensors).detach(), expected.detach())


def assert_layer_is_pure(attend: nn.Module, x: Tensor, *, training: bool) -> None:
    """As `assert_pure`; a layer stays as it is too, and remembers no text."""
    attend, x = attend.train(training).double(), x.double()
    fresh = copy.deepcopy(attend)
    with keeps(attend):
        longer = torch.cat([x, x + 1], -2)
        with must_run("it remembers a text"):
            attend(x)
            assert_close(attend(longer), fresh(longer))
        assert_pure(attend, x)


def half_texts(width: int) -> list[Tensor]:
    """Return a short and a long text, and a long one of which all tokens are alike and add up.

    Numbers up to 1 keep what roundings may do to a score small.
    """
    long = shrunk(real_sizes(600, width))
    return [long[:5], long, torch.ones_like(long)]


def assert_half_is_close(attend: nn.Module, **heads: Any) -> None:
    """In 16 bits a layer is as close to its formula in float64 as its roundings allow.

    In a long text the future stays hidden: there places are too many for numbers of 8 bits.
    """
    for dtype, text in itertools.product(HALVES, half_texts(attend.query.weight.shape[-1])):
        half, exact = half_and_exact(dtype, attend, text)
        bound = largest_of(*exact, heads.get("n_heads", 1))
        wanted = formula(*exact, **heads)
        assert_rounded(half[0](half[1]), wanted, roundings=ROUNDINGS, largest=bound)
        if heads.get("causal", True):
            for factor in (100, -100):
                changed = torch.cat([half[1][:257], factor * half[1][257:]])
                assert_close(half[0](changed)[:257], half[0](half[1])[:257])


def assert_off_in_evaluation(attend: nn.Module, undropped: nn.Module, x: Tensor) -> None:
    """In evaluation mode a layer with dropout is one without, which may be in training mode."""
    undropped.load_state_dict(attend.state_dict())
    within = largest_of(attend, x)  # of one head, which is at least that of several
    assert_close(attend.eval()(x), undropped.train()(x), **close(within))


TEXTS = 2000


def assert_drops_weights(attend: nn.Module, dropout: float, *, n_heads: int = 1) -> None:
    """In training each weight is dropped by a coin of its own, and scaled up if it is kept.

    The values of a text are one-hot, and stand there twice: what is read shows the weights, and
    features dropped alone differ. Shares, and how two weights go together, are within 6 standard
    errors over 2,000 texts. The layer has no biases, and heads twice as wide as its input.
    """
    time = attend.value.weight.shape[-1]
    attend.value.weight.data = torch.eye(time).repeat(len(attend.value.weight) // time, 1)
    if hasattr(attend, "output"):
        attend.output.weight.data = torch.eye(n_heads * 2 * time)

    def read(x: Tensor) -> Tensor:
        one, other = attend(x).detach().unflatten(-1, (n_heads, 2, time)).unbind(-2)
        assert_close(one, other)
        return one.movedim(-2, 1)  # text, head, query, key

    x = torch.eye(time).expand(TEXTS, time, time)
    attend.eval()
    weights = read(x[:1])
    attend.train()
    dropped, again = read(x), read(x)
    gone = dropped == 0
    rounding = 8 * close(1)["atol"] / ROUNDINGS
    expected = torch.where(gone, 0, weights / (1 - dropout))
    assert_close(dropped, expected, rtol=rounding, atol=1e-9)
    past = torch.ones(time, time, dtype=torch.bool).tril()
    coins = gone[..., past].flatten(1).double() - dropout
    variance = dropout * (1 - dropout)
    assert (coins.mean(0).abs() < 6 * (variance / TEXTS) ** 0.5).all()
    together = (coins.T @ coins / TEXTS).fill_diagonal_(0)
    assert (together.abs() < 6 * variance / TEXTS**0.5).all()
    assert (dropped != again).any()


def assert_compiles(
    call: Callable[..., Tensor], texts: Iterable[Tensor], *learned: nn.Module
) -> None:
    """Compiled for any length, as one graph, code returns what it does as it is; gradients too."""
    with unchecked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        compiled = torch.compile(call, fullgraph=True, dynamic=True)
        for text in texts:
            x = text.clone().requires_grad_()
            expected = call(x)
            with must_run("it is no single graph"):
                output = compiled(x)
            assert_close(output, expected)
            ours, theirs = gradients(output, x, *learned), gradients(expected, x, *learned)
            for one, other in zip(ours, theirs, strict=True):
                assert_close(one, other)
