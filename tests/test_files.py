import json
import os
import struct
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disk import in_words, on_disk, room_for, works
from strategies import assert_same, keeps, rejects, tensors

contents = st.binary(max_size=40)


class Large(bytes):
    """Bytes of which a message shows the first."""

    def __repr__(self):
        return repr(bytes(self)) if len(self) < 99 else f"{bytes(self[:9])!r} and so on"


LARGE = Large(bytes(range(256)) * 400)
STRANGE = "[a]*?" if os.name == "posix" else "[a]"
names = st.sampled_from(["a.json", "a", ".a", "a b.c", "naïve", STRANGE])


OTHER = ".other.json.00c0ffee.partial"


class Killed(BaseException):
    """What a process feels that is killed."""


FAILURES = {
    "full": OSError(28, "No space left on device"),
    "interrupted": KeyboardInterrupt(),
    "killed": Killed(),
}


class Operations:
    """Lets the n-th file operation fail: on a full disk, by Ctrl-C, or the process is killed."""

    EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "os.link")

    def __init__(self):
        self.left, self.how = None, "full"
        sys.addaudithook(lambda event, _: event in self.EVENTS and self.count())

    def count(self):
        if self.left is not None:
            self.left -= 1
            # The dead do nothing more.
            if self.left == 0 or (self.left < 0 and self.how == "killed"):
                raise FAILURES[self.how]

    def sync(self, file):
        try:
            self.count()
        except BaseException:
            left, self.left = self.left, None
            os.truncate(file, os.fstat(file).st_size // 2)  # half was written
            self.left = left
            raise

    def fail(self, operation, how, call):
        """Call with an operation that fails; return the error, and whether there was such one."""
        self.left, self.how, error = operation, how, None
        try:
            with patch("os.fsync", self.sync):
                call()
        except (Killed, KeyboardInterrupt, OSError) as raised:
            error = raised
        finally:  # whatever else goes wrong, the operations of others succeed again
            left, self.left = self.left, None
        return error, left <= 0


OPERATIONS = Operations()


def look(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=20)
@example(content=LARGE, old=b"old", name="a.json")
@given(contents, st.none() | contents, names)
def test_what_is_written_returns(files, content, old, name):
    with TemporaryDirectory() as folder, patch("os.fsync"):
        path = Path(folder, "new", "folders", name)
        with works(), keeps():
            if old is not None:
                files.write(path, old)
            files.write(path, content)
        assert look(path.parent) == {name: content}
        beside = path.with_name("beside")
        beside.write_bytes(b"")  # whoever may read this may read that
        assert path.stat().st_mode == beside.stat().st_mode


@settings(max_examples=6)
@example(old=b"old", new=LARGE, name="a.json")
@example(old=None, new=b"new", name=STRANGE)
@given(st.none() | contents, contents, names)
def test_whole_or_not_at_all(files, old, new, name):
    """Every operation in turn, in every way; another file is being written beside it."""
    before = {} if old is None else {name: old}
    for how in FAILURES:
        for operation in range(1, 100):
            with on_disk({**before, OTHER: b"other"}) as folder:
                path = folder / name
                error, met = OPERATIONS.fail(
                    operation, how, lambda path=path: files.write(path, new)
                )
                found = look(folder)
                assert found.pop(OTHER) == b"other"
                assert error or found == {name: new}
                if how == "killed":  # nobody could tidy up
                    found = {seen: content for seen, content in found.items() if seen == name}
                assert found in (before, {name: new})
                with patch("os.fsync"):
                    files.write(path, b"later")
                assert look(folder) == {name: b"later", OTHER: b"other"}
            if not met:
                break


@given(st.none() | contents, st.integers(0, len(LARGE) - 1))
def test_a_full_disk_spoils_nothing(files, old, size):
    before = {} if old is None else {"a": old}
    with on_disk(before) as folder, patch("os.fsync"):
        message = "File too large"
        try:
            with room_for(size):
                files.write(folder / "a", LARGE)
        except OSError as error:
            message = str(error)
        assert look(folder) in (before, {"a": LARGE})
        assert "File too large" in message
        assert "Errno" not in message


@given(contents)
def test_flushed_before_it_counts(files, content):
    """Content is on the disk before the file has its name: asked at the moment of flushing."""
    with TemporaryDirectory() as folder:
        path, flushed = Path(folder, "a"), []
        path.write_bytes(b"old")

        def fsync(file):
            flushed.append((os.fstat(file).st_size, path.read_bytes()))

        with patch("os.fsync", fsync):
            files.write(path, content)
        assert (len(content), b"old") in flushed


scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
keys = st.text(st.characters(codec="utf-8"), max_size=5).filter(
    lambda key: key not in ("kind", "format")
)
values = st.recursive(
    scalars | st.text(st.characters(codec="utf-8"), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@example(kind="tokenizer", content={"": [float("inf"), 2**64, "\u2028\0é\ufeff"], "a": {"kind": 1}})
@example(kind="history", content={"losses": [0.1 * i for i in range(2100)]})
@given(st.text(st.characters(codec="utf-8"), max_size=5), st.dictionaries(keys, values, max_size=3))
def test_json_returns(files, kind, content):
    with TemporaryDirectory() as folder, patch("os.fsync"), keeps(content):
        path = Path(folder, "a.json")
        files.write_json(path, kind, content)
        assert repr(files.read_json(path, kind)) == repr(content)  # True is not 1
        assert json.loads(path.read_text("utf-8")) == {
            "kind": kind, "format": files.FORMAT, **content
        }  # fmt: skip


@given(
    st.sampled_from(
        [{"kind": "x"}, {"format": 1}, {"a": {1}}, {"a": b""}, {"a": "\ud800"}, {"a": {(1, 2): 3}}]
    )
)
def test_rejects_what_json_cannot_hold(files, content):
    with on_disk({"a.json": b"old"}) as folder:
        with rejects("content"), in_words():
            files.write_json(folder / "a.json", "kind", content)
        assert look(folder) == {"a.json": b"old"}


FOREIGN = [
    b"", b"nothing", b"null", b"3", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe",
    b'{"kind": "kind", "format": 1', b'{"kind": "kind", "format": 1} {}',
    b'{"kind": "other", "format": 1}', b'{"kind": "kinds", "format": 1}',
    b'{"kind": ["kind"], "format": 1}', b'{"format": 1}',
    b'{"kind": "kind"}', b'{"kind": "kind", "format": "1"}', b'{"kind": "kind", "format": null}',
    b'{"kind": "kind", "format": true}',
    b'{"kind": "kind", "format": 0}', b'{"kind": "kind", "format": -1}',
    b'{"kind": "kind", "format": 1, "a": "caf\xe9"}',
]  # fmt: skip


@given(st.sampled_from(list(map(Large, FOREIGN))))
def test_rejects_foreign_json(files, content):
    with on_disk({"a.json": content}) as folder, rejects(folder / "a.json"), in_words():
        files.read_json(folder / "a.json", "kind")


@given(st.dictionaries(keys, values, max_size=3), st.data())
def test_rejects_cut_files(files, content, data):
    with TemporaryDirectory() as folder, patch("os.fsync"):
        a, b = Path(folder, "a.json"), Path(folder, "b.tensors")
        files.write_json(a, "kind", content)
        files.write_tensors(b, {"x": torch.ones(3)})
        for path in (a, b):
            size = len(path.read_bytes().rstrip())
            os.truncate(path, data.draw(st.integers(0, size - 1), "size"))
        with rejects(a):
            files.read_json(a, "kind")
        with rejects(b):
            files.read_tensors(b)


@given(st.integers(1, 2**40))
def test_rejects_a_newer_format(files, more):
    version = files.FORMAT + more
    text = json.dumps({"kind": "kind", "format": version, "new": 1}).encode()
    with on_disk({"a.json": text}) as folder, rejects(folder / "a.json", version, "upgrade"):
        files.read_json(folder / "a.json", "kind")


dtypes = st.sampled_from(
    [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32,
     torch.uint8, torch.bool]
)  # fmt: skip


@example(x=torch.arange(70_000.0), dtype=torch.float32)
@example(x=torch.tensor(3.0), dtype=torch.float32)
@example(x=torch.tensor([float("nan"), float("inf"), -0.0]), dtype=torch.bfloat16)
@given(tensors(st.integers(0, 4), st.integers(0, 4), batch=1), dtypes)
def test_tensors_return(files, x, dtype):
    x = x.to(dtype)
    written = {
        "x": x,
        "a.b/c é": torch.stack([x, x], dim=-1)[..., 0],
        "transposed": x.clone().T if x.ndim == 2 else x.clone(),
        "part": torch.cat([x.flatten(), x.flatten()])[x.numel() :],
        "learned": torch.nn.Parameter(x.clone(), requires_grad=x.is_floating_point()),
    }
    if not x.ndim:
        written["a.b/c é"] = x.clone()
    with TemporaryDirectory() as folder, patch("os.fsync"), works(), keeps(x):
        files.write_tensors(Path(folder, "a"), written)
        found = files.read_tensors(Path(folder, "a"))
    assert found.keys() == written.keys()
    for name, value in written.items():
        assert_same(found[name], value.detach())
        assert found[name].dtype == dtype
        assert not found[name].requires_grad


def header(content, size=None, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(dtype="F32", shape=(2,), at=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(at)}


BROKEN = {
    "empty": b"",
    "text": b"not safetensors at all",
    "a header larger than memory": header({}, size=2**63),
    "a header of the largest size": header({}, size=2**64 - 1),
    "a header larger than the file": header({}, size=10**7),
    "a header that is no JSON": header(b"\xff\xfe"),
    "a header that is a list": header(b"[]"),
    "a deep header": header(b"[" * 100_000),
    "overlapping": header({"a": entry(), "b": entry(at=(4, 12))}, data=bytes(12)),
    "a gap": header({"a": entry(at=(4, 12))}, data=bytes(12)),
    "beyond the end": header({"a": entry()}, data=bytes(4)),
    "more than is named": header({"a": entry()}, data=bytes(9)),
    "another size": header({"a": entry(shape=(3,))}, data=bytes(8)),
    "a negative size": header({"a": entry(shape=(-2,))}, data=bytes(8)),
    "a size beyond all": header({"a": entry(shape=(2**62, 4))}, data=bytes(8)),
    "an axis beyond all, of nothing": header({"a": entry(shape=(2**63, 0), at=(0, 0))}),
    "axes without end": header({"a": entry(shape=(1,) * 3000, at=(0, 4))}, data=bytes(4)),
    "a name of two lines": header({"a\nb": entry(shape=(0,), at=(8, 0))}),
    "numbers of too many digits": header(b'{"a": ' + b"9" * 5000 + b"}"),
    "an unknown type": header({"a": entry("F128")}, data=bytes(8)),
    "a type that torch lacks": header({"a": entry("F4", (16,))}, data=bytes(8)),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94",
}


@given(st.sampled_from(sorted(BROKEN)))
def test_rejects_foreign_tensors(files, kind):
    message = ""
    with on_disk({"a": BROKEN[kind]}) as folder, rejects(folder / "a"):
        try:
            files.read_tensors(folder / "a")
        except ValueError as error:
            message = str(error)
            raise
    assert "\n" not in message


@given(st.sampled_from(["absent", "folder", "below a file", "too long"]), st.booleans())
def test_rejects_what_cannot_be_read(files, kind, as_json):
    where = {"below a file": "file/a", "too long": "a" * 300}.get(kind, kind)
    with on_disk({"file": b"", "folder/a": b""}) as folder:
        message = ""
        with rejects(folder / where):
            try:
                files.read_json(folder / where, "x") if as_json else files.read_tensors(
                    folder / where
                )
            except ValueError as error:
                message = str(error)
                raise
    assert "Errno" not in message
    assert "JSON" not in message  # it was never seen
    assert "safetensors" not in message


@given(st.sampled_from(["folder", "file/a", "a" * 300]), contents)
def test_says_what_cannot_be_written(files, where, content):
    with on_disk({"file": b"", "folder/a": b""}) as folder:
        message = ""
        try:
            files.write(folder / where, content)
        except OSError as error:
            message = str(error)
        assert str(folder / where) in message
        assert "Errno" not in message
        assert sorted(path.name for path in folder.rglob("*")) == ["a", "file", "folder"]
