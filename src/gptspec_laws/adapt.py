"""A small kit: what code needs to answer to the book's names and shapes, without a rewrite.

An adapter has no mathematics of its own. It builds somebody's class as that class wants to be
built, lends it the weights that the book's class has, and hands it the axes that it reads.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def adapt(
    like: type[nn.Module],
    build: Callable[..., nn.Module],
    *,
    weights: Mapping[str, str],
    transposed: Collection[str] = (),
    batch_axes: int | None = None,
) -> type[nn.Module]:
    """Return a class that is built and read like the book's, and computes what another does.

    Args:
        like: The book's class, which says what the weights are called and how they are shaped.
        build: Returns the other module, from the arguments of the book's class. What it cannot
            build it refuses with a `NotImplementedError`, and the laws pass over such examples.
        weights: By the book's name of a part or parameter, the other's name of it. A `+` joins
            what the other keeps as one: `{"query+key+value": "c_attn", "output": "c_proj"}`.
        transposed: The other's names of matrices that it keeps the other way round.
        batch_axes: How many batch axes the other wants; None if it takes any number.

    Examples:
        A class of its own names, which wants exactly one batch axis:

        >>> from gptspec.gpt.feed_forward import FeedForward
        >>> class MLP(nn.Module):
        ...     def __init__(self, n):
        ...         super().__init__()
        ...         self.c_fc, self.c_proj = nn.Linear(n, 4 * n), nn.Linear(4 * n, n)
        ...     def forward(self, x):
        ...         batch, time, n = x.shape
        ...         return self.c_proj(nn.functional.gelu(self.c_fc(x), approximate="tanh"))
        >>> def build(d_model, d_ff, *, dropout=0.0, bias=True):
        ...     if d_ff != 4 * d_model or dropout or not bias:
        ...         raise NotImplementedError
        ...     return MLP(d_model)
        >>> names = {"up": "c_fc", "down": "c_proj"}
        >>> Theirs = adapt(FeedForward, build, weights=names, batch_axes=1)
        >>> Theirs(2, 8)(torch.zeros(5, 2)).shape  # no batch axis, and many
        torch.Size([5, 2])
        >>> Theirs(2, 8)(torch.zeros(3, 4, 5, 2)).shape
        torch.Size([3, 4, 5, 2])
    """

    class Adapted(nn.Module):
        theirs: nn.Module

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__()
            theirs = build(*args, **kwargs)
            object.__setattr__(self, "theirs", theirs)  # its weights have our names here
            try:
                ours = like(*args, **kwargs)
            except ValueError:
                return  # the other accepted what the book refuses: the laws shall see that
            for name, part in ours.named_children():
                self.add_module(name, part)
            for name, parameter in ours.named_parameters(recurse=False):
                self.register_parameter(name, parameter)
            self._take_over()

        @torch.no_grad()
        def _take_over(self) -> None:
            """Begin with the weights that the other began with."""
            known = dict(theirs_and_ours(self, weights))
            left = {name for name, _ in self.theirs.named_parameters()} - known.keys()
            if left:
                raise TypeError(
                    f"no weight is lent to {', '.join(sorted(left))}: add it to weights"
                )
            for name, parts in known.items():
                value = self.theirs.get_parameter(name).detach()
                value = value.mT if _matrix(name) in transposed else value
                start = 0
                for part in parts:
                    part.copy_(value[start : start + len(part)])
                    start += len(part)

        def _apply(self, *args: Any, **kwargs: Any) -> Any:
            self.theirs._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
            return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.theirs.train(self.training)
            lent = {}
            for name, parts in theirs_and_ours(self, weights):
                value = torch.cat(parts) if len(parts) > 1 else parts[0]
                lent[name] = value.mT if _matrix(name) in transposed else value

            def call(x: Tensor) -> Any:
                return functional_call(self.theirs, lent, (x, *args), kwargs)

            return call(x) if batch_axes is None else in_batch_axes(call, x, batch_axes)

    Adapted.__name__ = Adapted.__qualname__ = like.__name__
    return Adapted


def _matrix(name: str) -> str:
    return name.removesuffix(".weight") if name.endswith(".weight") else name


def theirs_and_ours(
    module: nn.Module, weights: Mapping[str, str]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield by another's names the parameters of ours that it joins, in order.

    Args:
        module: Holds the parameters under our names.
        weights: As in `adapt`.
    """
    own: dict[str, Tensor] = dict(module.named_parameters())
    for ours, theirs in weights.items():
        parts = ours.split("+")
        if parts[0] in own:
            yield theirs, [own[part] for part in parts]
            continue
        for kind in ("weight", "bias"):
            if f"{parts[0]}.{kind}" in own:
                yield f"{theirs}.{kind}", [own[f"{part}.{kind}"] for part in parts]


def in_batch_axes(call: Callable[[Tensor], Any], x: Tensor, count: int, own: int = 2) -> Any:
    """Call what wants exactly `count` batch axes with a tensor that has any number of them.

    Args:
        call: Takes and returns tensors with `count` batch axes.
        x: Has any number of batch axes, and then `own` axes more.
        count: How many batch axes it gets.
        own: How many axes a text has of itself: 2 for vectors, 1 for ids.

    Raises:
        NotImplementedError: If there is no text in the batch, which few can read.
    """
    batch, rest = x.shape[: x.ndim - own], x.shape[x.ndim - own :]
    if not batch.numel():
        raise NotImplementedError("a batch without a text")
    y = call(x.reshape(*([1] * (count - 1)), batch.numel(), *rest))
    return y.reshape(*batch, *y.shape[count:])


def renamed(call: Callable[..., Any], **names: str) -> Callable[..., Any]:
    """Return a function whose arguments have the book's names.

    Args:
        call: The function.
        names: By the book's name of an argument, the function's.

    Examples:
        >>> def scaled(logits, temp):
        ...     return logits / temp
        >>> renamed(scaled, temperature="temp")(3.0, temperature=2.0)
        1.5
    """

    @functools.wraps(call)
    def calling(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **{names.get(name, name): value for name, value in kwargs.items()})

    return calling
