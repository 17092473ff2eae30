"""A small kit: what code needs to answer to the book's names and shapes, without a rewrite.

An adapter has no mathematics of its own. It builds somebody's class as that class wants to be
built, lends it the weights that the book's class has, and hands it the axes that it reads.
"""

import functools
import inspect
import itertools
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
    call: Callable[..., Any] | None = None,
) -> type[nn.Module]:
    """Return a class that is built and read like the book's, and computes what another does.

    Args:
        like: The book's class, which says what the weights are called and how they are shaped.
        build: Returns the other module, from the arguments of the book's class. What it cannot
            build it refuses with a `NotImplementedError` (see `only`), and the laws pass over
            such examples.
        weights: By the book's name of a part or parameter, the other's name of it. A `+` joins
            what the other keeps as one: `{"query+key+value": "c_attn", "output": "c_proj"}`; a
            `*` stands for the number of a layer: `{"blocks.*.attention_norm": "h.*.ln_1"}`.
        transposed: The other's names of matrices that it keeps the other way round.
        batch_axes: How many batch axes the other wants; None if it takes any number.
        call: How the other is called, if not simply with the input: with the other module first,
            `lambda model, ids: model(ids)[0]`, say.

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
        ...     only(locals(), d_ff=4 * d_model, dropout=0.0, bias=True)
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
            for name, value in vars(ours).items():
                if not name.startswith("_") and name != "training":
                    setattr(self, name, value)
            for part in ours.modules():  # these are never called
                vars(part).update(dict.fromkeys(HOOKS, _no_hooks))
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
            kwargs = {name: value for name, value in kwargs.items() if value is not None}
            self.theirs.train(self.training)
            lent = {}
            for name, parts in theirs_and_ours(self, weights):
                value = torch.cat(parts) if len(parts) > 1 else parts[0]
                lent[f"other.{name}"] = value.mT if _matrix(name) in transposed else value
            called = _Called(self.theirs, call)
            try:
                inspect.signature(call or self.theirs.forward).bind(
                    *([x] if call is None else [self.theirs, x]), *args, **kwargs
                )
            except TypeError as error:
                raise NotImplementedError(", ".join(kwargs) or str(error)) from None

            def compute(x: Tensor) -> Any:
                return functional_call(called, lent, (x, *args), kwargs)

            if batch_axes is None:
                return compute(x)
            return in_batch_axes(compute, x, batch_axes, own=2 if x.is_floating_point() else 1)

    Adapted.__name__ = Adapted.__qualname__ = like.__name__
    return Adapted


HOOKS = ("register_forward_pre_hook", "register_forward_hook")


def _no_hooks(*_: object, **__: object) -> None:
    raise NotImplementedError("hooks on parts")


class _Called(nn.Module):
    """Another module, and how it is called."""

    def __init__(self, other: nn.Module, call: Callable[..., Any] | None) -> None:
        super().__init__()
        self.other = other
        self.call = call
        self.training = other.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.call is None:
            return self.other(*args, **kwargs)
        return self.call(self.other, *args, **kwargs)


def only(given: object, /, **offered: object) -> None:
    """Refuse what is asked for where it is not what code offers, so that laws pass over it.

    Args:
        given: A configuration, or `locals()` as the first line of a `build`.
        offered: The one value that each argument may have.

    Raises:
        NotImplementedError: If an argument has another value; it names the argument.

    Examples:
        >>> only({"d_in": 3, "d_out": 4}, d_in=4)
        Traceback (most recent call last):
        NotImplementedError: another d_in
    """
    for name, value in offered.items():
        if (given[name] if isinstance(given, Mapping) else getattr(given, name)) != value:
            raise NotImplementedError(f"another {name}")


ATTENTION = {"query+key+value": "c_attn", "output": "c_proj"}
FEED_FORWARD = {"up": "c_fc", "down": "c_proj"}
BLOCK = {"attention_norm": "ln_1", "feed_forward_norm": "ln_2"}
BLOCK |= {f"attention.{ours}": f"attn.{theirs}" for ours, theirs in ATTENTION.items()}
BLOCK |= {f"feed_forward.{ours}": f"mlp.{theirs}" for ours, theirs in FEED_FORWARD.items()}
GPT = {"tokens": "transformer.wte", "positions": "transformer.wpe", "norm": "transformer.ln_f"}
GPT |= {f"blocks.*.{ours}": f"transformer.h.*.{theirs}" for ours, theirs in BLOCK.items()}


def gpt2_names(concept: str) -> dict[str, str]:
    """Return what GPT-2's parts are called in OpenAI's code, and in most that came after it.

    Args:
        concept: The last part of a concept's path: multihead, feed_forward, block or model.

    Examples:
        >>> gpt2_names("feed_forward")
        {'up': 'c_fc', 'down': 'c_proj'}
    """
    return {"multihead": ATTENTION, "feed_forward": FEED_FORWARD, "block": BLOCK, "model": GPT}[
        concept
    ]


def gpt2_sizes(config: Any, **offered: object) -> dict[str, int]:
    """Return the sizes of a GPT-2 by their usual names, and refuse what is none.

    Args:
        config: The book's `GPTConfig`.
        offered: Further arguments of which code offers one value, as in `only`.

    Raises:
        NotImplementedError: If the configuration asks for another kind than GPT-2's.
    """
    kinds = {"positions": "learned", "norm": "layer", "feed_forward": "gelu", "norm_eps": 1e-5}
    only(config, **kinds, n_kv_heads=None, window=None, tied=True, **offered)
    only(config, feed_forward_width=4 * config.d_model)
    return {
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_layer": config.n_layers,
        "vocab_size": config.vocab_size,
        "block_size": config.context_length,
    }


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
        for at in itertools.count():
            lent = list(_lent(own, ours.replace("*", str(at)), theirs.replace("*", str(at))))
            yield from lent
            if "*" not in ours or not lent:
                break


def _lent(own: dict[str, Tensor], ours: str, theirs: str) -> Iterator[tuple[str, list[Tensor]]]:
    place, dot, joined = ours.rpartition(".")
    parts = [place + dot + part for part in joined.split("+")]
    if parts[0] in own:
        yield theirs, [own[part] for part in parts]
        return
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
