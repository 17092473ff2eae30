"""Linear: a matrix product that is as fast for one vector as its weights can be read."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

FEW = 16  # vectors; with more, arithmetic is the limit and not the memory
LARGE = 2**14  # numbers in a matrix; a smaller one stays in the processor's own memory


class Linear(nn.Linear):
    """Torch's linear layer, which reads packed weights where that is faster (see `packing`).

    Examples:
        >>> double = Linear(1, 1, bias=False)
        >>> double.weight.data = torch.tensor([[2.0]])
        >>> double(torch.tensor([[3.0], [4.0]])).tolist()
        [[6.0], [8.0]]
    """

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Return `x @ weight.T + bias`."""
        text = 0 if torch.compiler.is_compiling() else _text.get()
        if text and self._gains(x):
            rows = x.reshape(-1, x.shape[-1])
            packed = torch.ops.mkldnn._linear_pointwise(
                rows, _pack(self, text), self.bias, "none", [], ""
            )
            return packed.view(*x.shape[:-1], self.out_features)
        return super().forward(x)

    def _gains(self, x: Tensor) -> bool:
        """Return whether packed weights are faster here, and give what is asked for."""
        weight = self.weight
        return (
            0 < x.numel() <= FEW * self.in_features
            and weight.numel() >= LARGE
            and x.dtype == weight.dtype == torch.float32
            and x.device.type == weight.device.type == "cpu"
            and type(weight) is nn.Parameter
            and not weight.is_inference()  # such a tensor does not count its changes
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )


@dataclass
class _Packed:
    weight: Tensor
    version: tuple[int, ...]
    content: Tensor  # the sum of each row
    text: int  # the latest at whose beginning the content was looked at


_packed: WeakKeyDictionary[nn.Linear, _Packed] = WeakKeyDictionary()


def _pack(layer: nn.Linear, text: int) -> Tensor:
    """Return a layer's packed weights, packed anew if it has changed."""
    weight, kept = layer.weight.detach(), _packed.get(layer)
    # Torch counts the changes of a tensor, but not those through `.data`.
    version = id(layer.weight), weight.data_ptr(), weight._version
    if kept is not None and (kept.version, kept.text) == (version, text):
        return kept.weight
    content = weight.sum(dim=-1)
    if kept is None or kept.version != version or not torch.equal(kept.content, content):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
        kept = _packed[layer] = _Packed(packed, version, content, text)
    kept.text = text
    return kept.weight


_texts = itertools.count(1)
_latest = 0
_text: ContextVar[int] = ContextVar("text", default=0)  # 0: nothing is packed


@contextmanager
def packing(*, new_text: bool) -> Iterator[None]:
    """In the block layers may read packed weights: a copy in the order in which oneDNN reads them.

    A change of the weights that torch counts is seen at once. One that it does not count, through
    `.data`, is seen when a text begins.

    Args:
        new_text: Whether a text begins, and not one goes on.
    """
    global _latest  # noqa: PLW0603
    if new_text:
        _latest = next(_texts)
    before = _text.set(_latest if packable() else 0)
    try:
        yield
    finally:
        _text.reset(before)


def packable() -> bool:
    """Return whether packed weights are faster here, and torch has the operations for them.

    They are where a processor has the wide instructions (AVX-512) and the plain product reads
    memory at a third of its speed; with AVX2 both take as long. The operations are no part of
    torch's interface.
    """
    return bool(
        "AVX512" in torch.backends.cpu.get_cpu_capability()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
