"""What the laws draw, and how they compare: shared by every law file.

Sizes and a seed are drawn through Hypothesis, values come from the seed:
failures replay, shrink, and print numbers short enough to follow by hand.
"""

import math
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import jaxtyping
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

__all__ = [
    "HUGE",
    "LIFTED",
    "assert_close",
    "default_type",
    "elsewhere",
    "in_float64",
    "rejects",
    "sequences",
    "single_precision",
    "sizes",
    "tensors",
    "texts",
    "token_ids",
    "unchecked",
]

LIFTED = torch.promote_types(torch.get_default_dtype(), torch.float32)  # of a loss: never 16 bits
HUGE = min(100, int(math.log10(torch.finfo(torch.get_default_dtype()).max) / 3))  # as power of 10

AWKWARD = (
    *("Hello, world!", "  two  spaces", "\n\n", "\r\n\t", "it's I'LL", "123456", "aaaa"),
    *("naïve café", "e\u0301", "\ufeff", "日本語", "🙂👩\u200d👩\u200d👧", "\u00a0\u2003", "\x00"),
    *("<|endoftext|>", "<|unk|>"),
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


def unwritten(error: Exception) -> bool:
    """Return whether code is not there to be judged: an empty exercise, or a name not offered.

    Torch's own `NotImplementedError`, on its meta device for one, comes with a message.
    """
    missing = isinstance(error, AttributeError) or not error.args
    return isinstance(error, NotImplementedError) and missing


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
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
        torch.compiler.reset()


def mentions(text: str, words: str) -> bool:
    """Return whether a text holds these words, and not only letters of longer ones."""
    letter = r"[^\W_]"  # no underscore: `vocab_size` mentions the size
    return re.search(rf"(?<!{letter}){re.escape(words)}(?!{letter})", text) is not None


@contextmanager
def rejects(*words: object) -> Iterator[None]:
    """The block must refuse its input by a `ValueError` whose message holds every word.

    Accepting the input, or failing in any other way, breaks the law: both are
    told as an `AssertionError`, so that a mistake is caught and not merely crashes.
    A `TypeError` will do for a wrong type.
    """
    try:
        yield
        problem = "accepted what must be refused"
    except (ValueError, TypeError) as error:
        absent = [str(word) for word in words if not mentions(str(error), str(word))]
        if not absent:
            return
        problem = f"the message does not mention {absent}: {error}"
    except Exception as error:
        if unwritten(error):
            raise
        problem = f"failed with {type(error).__name__}: {error}"
    # Raised out here it has no cause: to Hypothesis another cause would be another failure.
    raise AssertionError(problem)
