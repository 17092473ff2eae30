import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf as peer
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disk import memory_for, works
from ggufs import TYPES, llama, written
from strategies import assert_same, elsewhere, keeps, owned, rejects, sizes

values = (
    st.booleans()
    | st.integers(0, 2**32 - 1)
    | st.floats(width=32, allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
lists = (
    st.lists(st.text(st.characters(codec="utf-8"), max_size=9), min_size=1, max_size=5)
    | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5)
    | st.lists(st.booleans(), min_size=1, max_size=5)
    | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5)
)
names = st.text("abc.é", min_size=1, max_size=9).filter(lambda name: not name.startswith("general"))


@st.composite
def stored(draw):
    """A tensor of up to three axes, in a type whose blocks fill its rows."""
    type = draw(st.sampled_from(TYPES), "type")
    block = peer.GGML_QUANT_SIZES[type][0]
    shape = [*draw(st.lists(sizes(1, 3), max_size=3)), block * draw(sizes(1, 2))]
    source = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 1e-6, 1.0, 1e3]))
    return scale * torch.randn(shape, generator=source, dtype=torch.float32), type


few = settings(max_examples=30)  # each writes a file


@few
@given(st.dictionaries(names, values | lists, max_size=5), st.sampled_from([None, 8, 64]))
@example({"a": ["ab"] * 5_000}, None)
def test_settings_return(gguf, metadata, alignment):
    with written(metadata, {}, alignment=alignment) as path:
        with works():
            found = dict(gguf.read(path).metadata)
        reader = peer.GGUFReader(path)
    assert found.pop("general.architecture") == "llama"
    assert found.pop("general.alignment", None) == alignment
    assert_same({name: found[name] for name in metadata}, metadata)
    for name, field in reader.fields.items():
        assert name.startswith(("GGUF.", "general")) or found[name] == field.contents()


@few
@given(st.dictionaries(names, stored(), max_size=4), st.sampled_from([None, 8, 64]))
@example(
    {"large": (torch.arange(96 * 1100.0, dtype=torch.float32).view(1100, 96).sin(), Type.Q4_1)},
    None,
)
def test_tensors_are_those_of_gguf(gguf, tensors, alignment):
    with written({}, tensors, alignment=alignment) as path, keeps():
        with works():
            found = gguf.read(path).tensors
        reader = {tensor.name: tensor for tensor in peer.GGUFReader(path).tensors}
        assert list(found) == list(reader)
        for name, tensor in reader.items():
            expected = peer.quants.dequantize(tensor.data, tensor.tensor_type)
            numbers = owned(found[name].decode)
            assert_same(numbers, torch.from_numpy(np.array(expected)))
            assert numbers.shape == tensors[name][0].shape == found[name].shape
            with elsewhere():
                assert found[name].decode().device.type == "cpu"


@given(st.sampled_from([2, 3, 8]))
def test_blocks_by_hand(gguf, kind):
    """One block of each type, its bytes written down."""
    half = np.float16
    low_first = bytes(n | (15 - n) << 4 for n in range(16))
    cases = {
        2: (half(0.5).tobytes() + low_first, [(n - 8) / 2 for n in range(16)]),
        3: (half(0.5).tobytes() + half(-1).tobytes() + low_first, [n / 2 - 1 for n in range(16)]),
        8: (
            half(0.25).tobytes() + bytes(range(240, 256)) + bytes(16),
            [n / 4 for n in range(-16, 0)],
        ),
    }
    content, first = cases[kind]
    found = gguf.StoredTensor(gguf.KINDS[kind], (1, 32), memoryview(content)).decode()
    assert found.shape == (1, 32)
    assert found[0, :16].tolist() == first
    second = [0.0] * 16 if kind == 8 else first[::-1]
    assert found[0, 16:].tolist() == second


def small():
    """The bytes of a small sound file, with two layers' worth of tensors."""
    metadata, tensors = llama(n_layers=1, d_head=2, repeats=1, d_ff=2, vocab_size=3)
    metadata |= {"list": ["a", "bc"], "numbers": [1, 2, 3], "flag": True}
    with written(metadata, tensors) as path:
        return path.read_bytes()


SMALL = small()
ABSURD = [2**63, 2**64 - 1, 2**62, 2**40, 2**32, 10**9]


def attempt(gguf, content):
    """Read a file and decode it; whatever it holds, it is read or refused, in little memory."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        path.write_bytes(content)
        try:
            with memory_for(2**28):
                file = gguf.read(path)
                return {name: tensor.decode() for name, tensor in file.tensors.items()}
        except ValueError as error:
            message = str(error)
        except (MemoryError, RecursionError, OverflowError, struct.error, RuntimeError) as error:
            raise AssertionError(f"failed with {type(error).__name__}: {error}") from error
    assert str(path) in message
    assert "\n" not in message
    return None


@st.composite
def damaged(draw):
    """A small file of which a few things are wrong."""
    content = bytearray(SMALL)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["byte", "absurd", "cut", "more", "moved"])):
            case "byte":
                content[place] = draw(st.integers(0, 255))
            case "absurd":
                content[place : place + 8] = struct.pack("<Q", draw(st.sampled_from(ABSURD)))
            case "cut":
                del content[place + 1 :]
            case "more":
                content[place:place] = draw(st.binary(min_size=1, max_size=9))
            case "moved":
                del content[place : place + draw(st.integers(1, 9))]
                content = content or bytearray(b"\0")
    return bytes(content)


@given(damaged())
def test_damage_is_refused_in_one_line(gguf, content):
    attempt(gguf, content)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(damaged())
def test_ten_thousand_damaged_files(gguf, content):
    attempt(gguf, content)


@given(st.integers(0, len(SMALL) - 17))  # the last tensor is padded with 16 bytes
def test_rejects_cut_files(gguf, size):
    assert attempt(gguf, SMALL[:size]) is None
    assert attempt(gguf, SMALL) is not None


def header(n_tensors=0, n_values=0, magic=b"GGUF", version=3):
    return magic + struct.pack("<IQQ", version, n_tensors, n_values)


def text(content):
    return struct.pack("<Q", len(content)) + content


def tensor(name=b"w", shape=(32,), kind=0, place=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, place)


def array(kind, count, name=b"a"):
    return text(name) + struct.pack("<IIQ", 9, kind, count)


PADDING = bytes(400)
BAD = {
    "another format": header(magic=b"GGML"),
    "version 1": header(version=1),
    "version 4": header(version=4),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "absurd number of tensors": header(n_tensors=2**60),
    "absurd number of values": header(n_values=2**60),
    "absurd name": header(n_values=1) + struct.pack("<Q", 2**60) + PADDING,
    "absurd array": header(n_values=1) + array(0, 2**60) + PADDING,
    "absurd array of texts": header(n_values=1) + array(8, 2**60) + PADDING,
    "arrays of arrays": header(n_values=1) + text(b"a") + struct.pack("<I", 9)
    + struct.pack("<IQ", 9, 1) * 10_000 + PADDING,
    "unknown kind of value": header(n_values=1) + text(b"a") + struct.pack("<I", 13) + PADDING,
    "no UTF-8": header(n_values=1) + text(b"\xff") + struct.pack("<IB", 0, 1) + PADDING,
    "a name twice": header(n_values=2) + 2 * (text(b"a") + struct.pack("<IB", 0, 1)) + PADDING,
    "a tensor twice": header(n_tensors=2) + tensor() + tensor(place=128) + PADDING,
    "no axes": header(n_tensors=1) + tensor(shape=()) + PADDING,
    "five axes": header(n_tensors=1) + tensor(shape=(1,) * 5) + PADDING,
    "an axis of 0": header(n_tensors=1) + tensor(shape=(32, 0)) + PADDING,
    "absurd shape": header(n_tensors=1) + tensor(shape=(2**32, 2**32)) + PADDING,
    "absurd axis": header(n_tensors=1) + tensor(shape=(2**62,)) + PADDING,
    "unknown kind of tensor": header(n_tensors=1) + tensor(kind=99) + PADDING,
    "half a block": header(n_tensors=1) + tensor(shape=(33,), kind=3) + PADDING,
    "outside": header(n_tensors=1) + tensor(place=2**20) + PADDING,
    "absurd place": header(n_tensors=1) + tensor(place=2**63) + PADDING,
    "not aligned": header(n_tensors=1) + tensor(shape=(2,), place=4) + PADDING,
    "overlapping": header(n_tensors=2) + tensor() + tensor(b"v", place=32) + PADDING,
    "the same place": header(n_tensors=2) + tensor() + tensor(b"v") + PADDING,
    "alignment 0": header(1, 1) + text(b"general.alignment") + struct.pack("<II", 4, 0)
    + tensor() + PADDING,
    "absurd alignment": header(1, 1) + text(b"general.alignment") + struct.pack("<II", 4, 2**31)
    + tensor() + PADDING,
}  # fmt: skip


@settings(max_examples=100)  # enough to try them all
@given(st.sampled_from(sorted(BAD)))
def test_rejects_what_contradicts_itself(gguf, case):
    assert attempt(gguf, BAD[case]) is None, f"accepted {case}"
    sound = header(n_tensors=2) + tensor() + tensor(b"v", place=128) + PADDING
    assert sorted(attempt(gguf, sound)) == ["v", "w"]


@given(st.sampled_from(["absent", "folder"]))
def test_rejects_what_cannot_be_read(gguf, case):
    with TemporaryDirectory() as folder:
        path = Path(folder) if case == "folder" else Path(folder, "absent.gguf")
        with rejects(path, "cannot read"):
            gguf.read(path)
