"""What adapters need to make a peer's modules answer to the book's names and shapes."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn


def rename(module: nn.Module, **names: str) -> None:
    """Give parts of a module the book's names; its own code still finds them by its own."""
    for theirs, ours in names.items():
        table = module._modules if theirs in module._modules else module._parameters
        module.__dict__[theirs] = table[ours] = table.pop(theirs)


def in_one_batch(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Call what wants exactly one axis before the last two with any number of them.

    Batches without a text are not judged: few peers can read them.
    """
    if not x.shape[:-2].numel():
        raise NotImplementedError
    y = forward(x.reshape(x.shape[:-2].numel(), *x.shape[-2:]))
    return y.reshape(*x.shape[:-2], *y.shape[-2:])


def to_halves(x: Tensor) -> Tensor:
    """Reorder features from pairs side by side to pairs of which the second is half a width on."""
    return x.unflatten(-1, (-1, 2)).mT.flatten(-2)


def to_pairs(x: Tensor) -> Tensor:
    """Undo `to_halves`."""
    return x.unflatten(-1, (2, -1)).mT.flatten(-2)


class Projections(nn.Module):
    """The four projections of an attention, whose weights an adapter lends to its peer."""

    def __init__(self, d_in: int, d_out: int, *, d_kv: int | None = None, bias: bool) -> None:
        super().__init__()
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_kv or d_out, bias=bias)
        self.value = nn.Linear(d_in, d_kv or d_out, bias=bias)
        self.output = nn.Linear(d_out, d_out, bias=bias)

    def lend(self, **names: str) -> dict[str, Tensor]:
        """Return the weights under a peer's names; `+` joins projections that it keeps as one."""
        return {
            f"{theirs}.{kind}": torch.cat([getattr(getattr(self, ours), kind) for ours in parts])
            for theirs, parts in ((theirs, ours.split("+")) for theirs, ours in names.items())
            for kind in self.query.state_dict()
        }

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    explicit = project = weights = forward


def pairs_behind(ranks: dict[bytes, int]) -> tuple[tuple[int, int], ...]:
    """Return the two tokens that each learned token was made of, the earliest learned first."""
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            joined = [ranks.get(a + b, rank) for a, b in itertools.pairwise(parts)]
            place = joined.index(min(joined))
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        if len(parts) == 2:
            pairs.append((ranks[parts[0]], ranks[parts[1]]))
    return tuple(pairs)
