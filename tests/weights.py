"""Weights that a name and a shape decide, so that implementations can be compared in numbers.

Two programs with the same bug seldom make their parameters in the same order, or draw them from
the same distribution. A seed gives them different weights, and the same bug other numbers. While
implementations are compared, what a class of theirs has drawn at random is drawn again when it is
built, from a seed that the parameter's name and shape decide.
"""

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn


@contextmanager
def decided_by_name(module: ModuleType) -> Iterator[None]:
    """In the block, what a module's classes build has weights that names and shapes decide."""
    classes = {
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, nn.Module)
        and not one.__module__.startswith("torch.")
    }
    before = {one: vars(one).get("__init__") for one in classes}
    depth = [0]
    for one in classes:
        one.__init__ = _then_redrawn(one.__init__, depth)
    try:
        yield
    finally:
        for one, init in before.items():
            if init is None:
                del one.__init__
            else:
                one.__init__ = init


def _then_redrawn(init: Callable[..., None], depth: list[int]) -> Callable[..., None]:
    """Return a constructor that draws anew at its end, unless it is part of another's."""

    @functools.wraps(init)
    def redrawing(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        depth[0] += 1
        try:
            init(self, *args, **kwargs)
        finally:
            depth[0] -= 1
        if not depth[0]:
            redraw(self)

    return redrawing


@torch.no_grad()
def redraw(module: nn.Module) -> None:
    """Draw all parameters anew that differ within; those that begin as a constant stay."""
    for name, parameter in module.named_parameters():
        if (
            parameter.is_meta
            or not parameter.numel()
            or (parameter == parameter.flatten()[0]).all()
        ):
            continue
        source = torch.Generator().manual_seed(
            zlib.crc32(f"{name} {tuple(parameter.shape)}".encode())
        )
        values = torch.rand(parameter.shape, generator=source, device="cpu") * 2 - 1
        parameter.copy_(values / parameter.shape[-1] ** 0.5)
