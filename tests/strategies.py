"""What the laws draw, and how they compare: shared by every law file.

Sizes and a seed are drawn through Hypothesis, values come from the seed:
failures replay, shrink, and print numbers short enough to follow by hand.
"""

import copy
import gc
import itertools
import math
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jaxtyping
import numpy as np
import torch
from hypothesis import example
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

__all__ = [
    "HALVES",
    "HUGE",
    "LIFTED",
    "RARE",
    "assert_close",
    "assert_rounded",
    "assert_same",
    "assert_same_on_views",
    "default_type",
    "elsewhere",
    "gradients",
    "half_and_exact",
    "in_float64",
    "in_turns",
    "keeps",
    "owned",
    "rare_texts",
    "rejects",
    "remembered",
    "sequences",
    "single_precision",
    "sizes",
    "tensors",
    "texts",
    "token_ids",
    "unchecked",
    "views",
]

LIFTED = torch.promote_types(torch.get_default_dtype(), torch.float32)  # of a loss: never 16 bits
HUGE = min(100, int(math.log10(torch.finfo(torch.get_default_dtype()).max) / 3))  # as power of 10

AWKWARD = (
    *("Hello, world!", "  two  spaces", "\n\n", "\r\n\t", "it's I'LL", "123456", "aaaa"),
    *("naïve café", "e\u0301", "\ufeff", "日本語", "🙂👩\u200d👩\u200d👧", "\u00a0\u2003", "\x00"),
    *("<|endoftext|>", "<|unk|>"),
    *(
        "हिन्दी",
        "_a__b",
        "don’t",
        "\v\f\x1c\x85\u2028\u3000",
        "½٣²",
        "İßſ",
        "<|endoftext|",
        "\u200b",
    ),
)

# What is rarely drawn, each by itself; those that tell most stand first, for a diagnosis to see.
RARE = (
    *("it's I'LL", "a  b ", "1234567890", "a_b", "e\u0301", "हिन्दी", "\ufeffa", "a\r\n\r\nb"),
    *(
        "<|endoftext|>",
        "a<|endoftext|>b<|unk|> c",
        "日本語。🙂👍🏽",
        "\u00a0a\u2003 b",
        "",
        "\x00",
        " \n",
        "a-b c--d",
    ),
    *(
        " ",
        "_",
        "7",
        "'",
        "\ufeff",
        "\u0301",
        "\n\n",
        "\u200b",
        "\x7f\x80\u07ff\u0800",
        "\ud7ff\ue000",
    ),
    *(
        "\uffff\U00010000\U0010ffff",
        "ﬁ",
        "İ",
        "ß",
        "ſ",
        "\u1100\u1161",
        "½²٣",
        "a\ufeffb",
        "__init__",
    ),
    *(
        "'tis",
        "we'd've",
        "don’t",
        "rock'n'roll o'clock",
        "'S",
        "1 22 333",
        "1,000.5",
        "1_000",
        "x1y2",
        "\t\tif",
    ),
    *(
        "a\rb",
        "a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\x85h\u2028i\u2029j\u3000k",
        "नमस्ते दुनिया",
        "👩\u200d👩\u200d👧🇩🇪",
    ),
    *(
        "<|endoftext|",
        "<|<|endoftext|>|>",
        "<|endoftext|><|endoftext|>",
        "<|EndOfText|>",
        "(a [b] {c})",
        "\\d+",
    ),
    *("a" * 300, " " * 300, "7" * 300),
    " ".join(f"Line {n}: naïve 日本 🙂{n}'s\n" for n in range(300)),  # some 10,000 bytes
)


def sizes(least: int = 1, most: int = 5) -> st.SearchStrategy[int]:
    """Draw the length of an axis."""
    return st.integers(least, most)


@st.composite
def tensors(draw: st.DrawFn, *shape: int | st.SearchStrategy[int], batch: int = 0) -> Tensor:
    """Draw a tensor; an axis may be a number or a strategy, with up to `batch` axes before.

    Seeds 0, 1 and 2 give zeros, ones and a count, which counterexamples shrink to;
    all others give normal values of one decimal.
    """
    axes = draw(st.lists(st.sampled_from([1, 2, 3, 0]), max_size=batch))
    axes += [size if isinstance(size, int) else draw(size) for size in shape]
    match draw(st.integers(0, 2**32 - 1)):
        case 0:
            return torch.zeros(axes)
        case 1:
            return torch.ones(axes)
        case 2:
            return torch.arange(torch.Size(axes).numel()).view(axes).to(torch.get_default_dtype())
        case seed:
            source = torch.Generator(torch.get_default_device()).manual_seed(seed)
            return torch.randn(axes, generator=source).mul(20).round().div(10)


def sequences(
    time: int | st.SearchStrategy[int] | None = None,
    d_model: int | st.SearchStrategy[int] | None = None,
    batch: int = 1,
) -> st.SearchStrategy[Tensor]:
    """Draw vectors in a row, `*batch time d_model`: what attention reads."""
    return tensors(
        sizes() if time is None else time, sizes() if d_model is None else d_model, batch=batch
    )


@st.composite
def token_ids(
    draw: st.DrawFn, vocab_size: int, *shape: int | st.SearchStrategy[int], batch: int = 0
) -> Tensor:
    """Draw token ids below `vocab_size`, shaped like `tensors`."""
    axes = draw(st.lists(sizes(1, 3), max_size=batch))
    axes += [size if isinstance(size, int) else draw(size) for size in shape]
    count = torch.Size(axes).numel()
    ids = draw(st.lists(st.integers(0, vocab_size - 1), min_size=count, max_size=count))
    return torch.tensor(ids, dtype=torch.long).view(axes)


def texts(max_size: int = 40) -> st.SearchStrategy[str]:
    """Draw any text UTF-8 can write, rich in what tokenizers get wrong."""
    awkward = st.sampled_from(AWKWARD)
    anything = st.text(st.characters(codec="utf-8"), max_size=max_size)
    return st.lists(awkward | anything, max_size=3).map("".join)


def rare_texts(**others: Any) -> Callable[[Any], Any]:
    """Let a property of a `text` see each rare one too, with these values of what else it draws."""

    def decorate(property: Any) -> Any:
        for text in reversed(RARE):
            property = example(text=text, **others)(property)
        return property

    return decorate


NUMBERS = itertools.count()


def remembered(call: Callable[[int], Any]) -> float:
    """Return how many objects Python keeps of a call, once 5,000 calls filled what is bounded.

    Args:
        call: Is given a number that was never given before.
    """
    with _unannotated():  # beartype would take most of the time
        for number in itertools.islice(NUMBERS, 5_000):
            call(number)
        gc.collect()
        before = sys.getallocatedblocks()
        for number in itertools.islice(NUMBERS, 1_000):
            call(number)
        gc.collect()
        return (sys.getallocatedblocks() - before) / 1_000


def unwritten(error: Exception) -> bool:
    """Return whether code is not there to be judged: an empty exercise, or what is not offered.

    Torch has a `NotImplementedError` of its own, for operations that its meta device lacks.
    """
    torchs = re.search(r"\bmeta\b|aten::|out of meta", str(error)) is not None
    return isinstance(error, NotImplementedError) and not torchs


def in_float64(*, rtol: float = 0, atol: float = 0) -> dict[str, float]:
    """Return tolerances that are tighter than those of `assert_close`, where digits are plenty."""
    return {"rtol": rtol, "atol": atol} if torch.get_default_dtype() == torch.float64 else {}


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    """In the block this is torch's default type."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def single_precision() -> AbstractContextManager[None]:
    """In the block float32 is torch's default type, as it is outside the laws."""
    return default_type(torch.float32)


class ApartFromMeta(TorchFunctionMode):
    """Refuses indices without values: torch would take what happens to lie in memory."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.__getitem__:
            table, ids = args
            ids = ids if isinstance(ids, tuple) else (ids,)
            if not table.is_meta and any(isinstance(id, Tensor) and id.is_meta for id in ids):
                raise RuntimeError("a table is read by indices on another device")
        return func(*args, **(kwargs or {}))


@contextmanager
def elsewhere() -> Iterator[None]:
    """In the block torch's default device is one that keeps no values.

    Code that does not say where it makes a tensor makes it there, and can not go on with it.
    """
    torch.use_deterministic_algorithms(True)  # what has no value is NaN, and not what lay there
    try:
        with torch.device("meta"):
            yield
            return
    except (RuntimeError, ValueError) as error:
        if unwritten(error):
            raise
        problem = f"a tensor was made on torch's default device: {error}"
    finally:
        torch.use_deterministic_algorithms(False)
    # Raised out here it has no cause: to Hypothesis another cause would be another failure.
    raise AssertionError(problem)


@contextmanager
def unchecked() -> Iterator[None]:
    """In the block shapes are not checked: the checks are no code for torch's compiler."""
    try:
        with _unannotated():
            yield
    finally:
        torch.compiler.reset()


@contextmanager
def _unannotated() -> Iterator[None]:
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def assert_same(one: Any, other: Any) -> None:
    """Two values are the same to the last bit, whatever they are made of: NaN is NaN."""
    if isinstance(other, nn.Module):
        assert_same(_state(one), _state(other))
    elif isinstance(other, Tensor):
        assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    elif isinstance(other, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(other, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(other, list | tuple):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


def _state(module: nn.Module) -> dict[str, Any]:
    """Return all of a module that a call could change by accident."""
    modes = {name: part.training for name, part in module.named_modules()}
    learned = {name: (p.grad, p.requires_grad) for name, p in module.named_parameters()}
    return {"values": dict(module.state_dict()), "modes": modes, "gradients": learned}


def _surroundings() -> dict[str, Any]:
    """Return what all code in a process shares: random states, and torch's settings."""
    return {
        "Python's random state": random.getstate(),
        "NumPy's random state": list(np.random.get_state()),
        "torch's random state": torch.get_rng_state(),
        "torch's default type": torch.get_default_dtype(),
        "whether gradients are on": torch.is_grad_enabled(),
    }


@contextmanager
def keeps(*values: Any) -> Iterator[None]:
    """The block changes none of these values (tensors, modules, lists, ...), nor a random state."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # Laws begin with seed 0: a state further on shows who sets that seed again.
    random.random(), np.random.random(), torch.rand(1, device="cpu")
    before = copy.deepcopy((*map(_frozen, values), _surroundings()))
    with _unannotated():  # beartype draws by Python's generator which item of a list it looks at
        yield
    assert_same((*map(_frozen, values), _surroundings()), before)
    random.setstate(states[0])  # around this block there may be another such block
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def _frozen(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return _state(value)
    return value.detach() if isinstance(value, Tensor) else value


def owned(call: Callable[[], Any]) -> Any:
    """Return what a call returns, which must be the same after its owner has spoilt a first one.

    Not for results that are views of an argument, where the page says so.
    """
    first = call()
    expected = copy.deepcopy(_detached(first))
    _spoil(first)
    again = call()
    assert_same(_detached(again), expected)
    return again


def _detached(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_detached(part) for part in value])
    return value.detach() if isinstance(value, Tensor) else value


def _spoil(value: Any) -> None:
    """Change a value in place, as its owner may."""
    if isinstance(value, Tensor):
        with torch.no_grad():
            single = value.detach()
            # What is expanded holds its numbers once: one of each is changed.
            for axis, stride in enumerate(single.stride()):
                single = single.narrow(axis, 0, 1) if stride == 0 and len(single) else single
            single.fill_(1 if value.dtype == torch.bool else 77)
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        value.fill(77)
    elif isinstance(value, list | tuple):
        for part in value:
            _spoil(part)
        if isinstance(value, list):
            value.clear()
    elif isinstance(value, dict):
        for part in value.values():
            _spoil(part)
        value.clear()


def views(x: Tensor) -> dict[str, Tensor]:
    """Return tensors that equal `x` and lie in memory in other ways; int32 too if it holds ids."""
    padded = torch.stack([x, torch.full_like(x, 3)], dim=-1)
    found = {"strided": padded[..., 0]}
    if x.ndim:
        found["offset"] = torch.cat([torch.full_like(x[:1], 3), x])[len(x[:1]) :]
    if x.ndim > 1:
        found["transposed"] = x.transpose(0, -1).contiguous().transpose(0, -1)
    if x.dtype == torch.long:
        found["int32"] = x.to(torch.int32)
    return found


def assert_same_on_views(call: Callable[[Tensor], Any], x: Tensor) -> None:
    """What is computed of a tensor does not depend on how it lies in memory."""
    expected = call(x.clone(memory_format=torch.contiguous_format))
    for view in views(x).values():
        assert_close(call(view), expected)


def gradients(output: Tensor, *about: Tensor | nn.Module) -> list[Tensor]:
    """Return the gradients of a fixed mix of all outputs: of tensors, and of modules' parameters.

    Where nothing flows the gradient is 0, as the gradient of another way to the same output is.
    """
    each = [[x] if isinstance(x, Tensor) else list(x.parameters()) for x in about]
    mix = torch.arange(1, output.numel() + 1, device=output.device).to(output.dtype).cos()
    total = (output * mix.view_as(output)).sum()
    learned = list(itertools.chain(*each))
    if not total.requires_grad:
        return [torch.zeros_like(x) for x in learned]
    found = torch.autograd.grad(total, learned, allow_unused=True, materialize_grads=True)
    return list(found)


HALVES = (torch.bfloat16, torch.float16)  # 8 and 11 significant bits


def half_and_exact(dtype: torch.dtype, *things: Any) -> tuple[list[Any], list[Any]]:
    """Return copies of tensors and modules in 16 bits, and these same numbers in float64."""
    half = [copy.deepcopy(x).to(dtype) for x in things]
    return half, [copy.deepcopy(x).to(torch.float64) for x in half]


def assert_rounded(
    half: Tensor, exact: Tensor, *, roundings: float, largest: float | None = None
) -> None:
    """A result in 16 bits is off by its roundings at most.

    Args:
        half: Computed in 16 bits.
        exact: Computed of the same numbers in float64.
        roundings: How many follow one another on the way to a result; each is off by half a unit
            in the last place at most. A sum of n numbers that a kernel takes in float32 is one.
        largest: The largest number on the way, which decides the size of that unit; if None, the
            largest of the result.
    """
    assert half.dtype in HALVES
    assert half.shape == exact.shape
    if not exact.numel():
        return
    largest = exact.abs().max().item() if largest is None else largest
    bound = roundings * torch.finfo(half.dtype).eps / 2 * largest
    error = (half.double() - exact.double()).abs().max().item()
    assert error <= bound, f"off by {error:.3g}, where rounding explains {bound:.3g}"


def in_turns(*streams: Iterable[Any]) -> list[list[Any]]:
    """Return what streams yield, asked one after the other: none may disturb another."""
    under_way = [iter(stream) for stream in streams]
    seen: list[list[Any]] = [[] for _ in under_way]
    going = set(range(len(under_way)))
    while going:
        for place in sorted(going):
            try:
                seen[place].append(next(under_way[place]))
            except StopIteration:
                going.discard(place)
    return seen


# Python's words for a call that does not fit a signature: the code never came to its question.
MISCALLED = re.compile(r"\(\) (takes|missing|got an unexpected|got multiple|got some positional)")


def crashed(error: Exception) -> bool:
    """Return whether an error is no answer to bad input, but code that cannot run at all."""
    if isinstance(error, NameError | AttributeError | ImportError):
        return True
    return isinstance(error, TypeError) and MISCALLED.search(str(error)) is not None


def mentions(text: str, words: str) -> bool:
    """Return whether a text holds these words, and not only letters of longer ones."""
    letter = r"[^\W_]"  # no underscore: `vocab_size` mentions the size
    return re.search(rf"(?<!{letter}){re.escape(words)}(?!{letter})", text) is not None


@contextmanager
def rejects(*words: object) -> Iterator[None]:
    """The block must refuse its input by a `ValueError` whose message holds every word.

    Accepting the input, or failing in any other way, breaks the law: both are
    told as an `AssertionError`, so that a mistake is caught and not merely crashes.
    A `TypeError` will do for a wrong type. A name that does not exist, or a call that does not
    fit a signature, stays what it is: a crash says nothing about the law.
    """
    try:
        yield
        problem = "accepted what must be refused"
    except (ValueError, TypeError) as error:
        if crashed(error):
            raise
        absent = [str(word) for word in words if not mentions(str(error), str(word))]
        if not absent:
            return
        problem = f"the message does not mention {absent}: {error}"
    except Exception as error:
        if unwritten(error) or crashed(error):
            raise
        problem = f"failed with {type(error).__name__}: {error}"
    # Raised out here it has no cause: to Hypothesis another cause would be another failure.
    raise AssertionError(problem)
