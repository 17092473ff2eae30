"""GGUF: one file that holds a model's settings, its vocabulary and its quantized weights."""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor

from gptspec import files
from gptspec.checks import check

Blocks = UInt8[ndarray, "blocks bytes"]
Weights = Float32[ndarray, "blocks weights"]

# Kinds of values, by number: how `struct` writes them. Texts and arrays are apart.
NUMBERS = dict(zip(range(8), "BbHhIif?", strict=True)) | {10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9


def _nibbles(packed: Blocks) -> UInt8[ndarray, "blocks weights"]:
    """Return the two halves of each byte: first the low ones of a block, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _halves(block: Blocks) -> Weights:
    return block.view("<f2").astype(np.float32)


def _bfloat16(block: Blocks) -> Weights:
    return (block.view("<u2").astype(np.uint32) << 16).view(np.float32)  # float32 without its end


def _q4_0(block: Blocks) -> Weights:
    return (_nibbles(block[:, 2:]).astype(np.float32) - 8) * _halves(block[:, :2])


def _q4_1(block: Blocks) -> Weights:
    return _nibbles(block[:, 4:]) * _halves(block[:, :2]) + _halves(block[:, 2:4])


def _q8_0(block: Blocks) -> Weights:
    return block[:, 2:].view(np.int8) * _halves(block[:, :2])


@dataclass(frozen=True)
class Kind:
    """How numbers are stored: `size` of them in a block of `n_bytes`."""

    name: str
    size: int
    n_bytes: int
    decode: Callable[[Blocks], Weights]


KINDS = {
    0: Kind("F32", 1, 4, lambda block: block.view("<f4").astype(np.float32)),
    1: Kind("F16", 1, 2, _halves),
    2: Kind("Q4_0", 32, 18, _q4_0),
    3: Kind("Q4_1", 32, 20, _q4_1),
    8: Kind("Q8_0", 32, 34, _q8_0),
    30: Kind("BF16", 1, 2, _bfloat16),
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it is in the file.

    Attributes:
        kind: How its numbers are stored.
        shape: Its axes, the one whose numbers are neighbours last, as in torch.
        data: Its bytes.
    """

    kind: Kind
    shape: tuple[int, ...]
    data: memoryview

    def decode(self) -> Float[Tensor, "..."]:
        """Return the numbers, in float32."""
        blocks = np.frombuffer(self.data, np.uint8).reshape(-1, self.kind.n_bytes)
        return torch.from_numpy(self.kind.decode(blocks)).reshape(self.shape)


@dataclass(frozen=True)
class GGUF:
    """What a file holds.

    Attributes:
        metadata: Settings by name: numbers, texts, booleans, and lists of them.
        tensors: Weights by name, not decoded yet.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]


class _Reader:
    """Reads values one after the other; what goes beyond the end is refused before it is made."""

    def __init__(self, content: bytes) -> None:
        self.content = memoryview(content)
        self.at = 0

    def take(self, size: int) -> memoryview:
        left = len(self.content) - self.at
        if size > left:
            raise ValueError(f"{size} bytes are announced at {self.at}, where {left} are left")
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, of: str, least: int) -> int:
        """Return how many things follow, each of at least so many bytes."""
        count: int = self.number("Q")
        if count * least > len(self.content) - self.at:
            raise ValueError(f"{count} {of} are announced at {self.at}, which is more than follows")
        return count

    def text(self) -> str:
        return str(self.take(self.count("characters", 1)), "utf-8")

    def value(self) -> Any:
        kind = self.number("I")
        return self.array() if kind == ARRAY else self.items(kind, 1)[0]

    def array(self) -> list[Any]:
        kind = self.number("I")  # an array of arrays is refused: nesting has no end
        least = 8 if kind == TEXT else struct.calcsize("<" + NUMBERS.get(kind, "B"))
        return self.items(kind, self.count("items", least))

    def items(self, kind: int, count: int) -> list[Any]:
        if kind == TEXT:
            return [self.text() for _ in range(count)]
        check("kind of value", kind, kind in NUMBERS, "a number of 8 to 64 bits, a bool or a text")
        code = f"<{count}{NUMBERS[kind]}"
        return list(struct.unpack(code, self.take(struct.calcsize(code))))

    def tensor(self) -> tuple[tuple[int, ...], Kind, int]:
        """Return shape, kind and place of a tensor."""
        n_axes = self.number("I")
        check("number of axes", n_axes, 1 <= n_axes <= 4, "from 1 to 4")
        shape = tuple(reversed([self.number("Q") for _ in range(n_axes)]))
        kind, place = self.number("I"), self.number("Q")
        check("kind of tensor", kind, kind in KINDS, f"one of {[*KINDS]}")
        fits = all(shape) and shape[-1] % KINDS[kind].size == 0
        check("shape", shape, fits, f"of axes above 0, the last in blocks of {KINDS[kind].size}")
        return shape, KINDS[kind], place


def read(path: Path) -> GGUF:
    """Return what a GGUF file holds.

    Nothing that the file claims is believed before it is checked against the file's own size, so
    no file takes much more memory than itself. Nothing in it is executed.

    Args:
        path: The file, of version 2 or 3, its tensors in one of the `KINDS`.

    Raises:
        ValueError: If the file cannot be read, is cut short, contradicts itself, or holds what is
            not known here.

    Source:
        ggml, docs/gguf.md: the format; ggml-quants.c, `dequantize_row_*`: the blocks.
    """
    content = files.read(path)
    try:
        return _parse(_Reader(content))
    except (ValueError, struct.error) as error:
        raise ValueError(f"{path} is no sound GGUF file: {error}") from error


def _parse(reader: _Reader) -> GGUF:
    magic, version = bytes(reader.take(4)), reader.number("I")
    check("first bytes", magic, magic == b"GGUF", "GGUF")
    check("version", version, version in (2, 3), "2 or 3")
    n_tensors, n_values = reader.count("tensors", 32), reader.count("values", 13)
    metadata: dict[str, Any] = {}
    for _ in range(n_values):
        name = reader.text()
        check("name", name, name not in metadata, "given once")
        metadata[name] = reader.value()
    places: dict[str, tuple[tuple[int, ...], Kind, int]] = {}
    for _ in range(n_tensors):
        name = reader.text()
        check("name", name, name not in places, "given once")
        places[name] = reader.tensor()
    alignment = metadata.get("general.alignment", 32)
    whole = isinstance(alignment, int) and 0 < alignment <= 2**20 and alignment % 8 == 0
    check("general.alignment", alignment, whole, "a multiple of 8")
    begin = end = min(-reader.at % alignment + reader.at, len(reader.content))
    tensors = {}
    for name, (shape, kind, place) in sorted(places.items(), key=lambda item: item[1][2]):
        reader.at = begin + place
        apart = place % alignment == 0 and reader.at >= end
        check(f"place of {name}", place, apart, f"a multiple of {alignment} behind other tensors")
        tensors[name] = StoredTensor(
            kind, shape, reader.take(math.prod(shape) // kind.size * kind.n_bytes)
        )
        end = reader.at
    return GGUF(metadata, {name: tensors[name] for name in places})
