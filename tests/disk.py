"""Folders that hold what a law says, for as long as it looks at them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

try:
    import resource
except ImportError:  # on Windows
    resource = None


@contextmanager
def on_disk(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder, below a hidden one as in ~/.cache, that holds `files`."""
    with TemporaryDirectory() as name:
        root = Path(name, ".cache", "articles")
        root.mkdir(parents=True)
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        yield root


@contextmanager
def works() -> Iterator[None]:
    """The block must not fail: its error breaks the law."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise AssertionError(f"failed: {error}") from error


RAW = ("Errno", "codec", "surrogate", "recursion")  # words of Python that are of no help


@contextmanager
def in_words() -> Iterator[None]:
    """What the block refuses it tells in words of its own."""
    try:
        yield
        return
    except (OSError, ValueError) as error:
        raw = [word for word in RAW if word in str(error)]
        if not raw:
            raise
        problem = f"told in words of Python, {raw}: {error}"
    raise AssertionError(problem)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """In the block no file may grow larger, as on a disk that is full."""
    if resource is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class _Forbidden:
    """Lets no file be opened whose path is in a set."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        sys.addaudithook(self.look)

    def look(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.paths and event == "open" and str(arguments[0]) in self.paths:
            raise PermissionError(13, "Permission denied", str(arguments[0]))


FORBIDDEN = _Forbidden()


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """In the block nobody may open this file, whoever runs the laws."""
    FORBIDDEN.paths.add(str(path))
    try:
        yield
    finally:
        FORBIDDEN.paths.discard(str(path))


@contextmanager
def memory_for(size: int) -> Iterator[None]:
    """In the block no more than `size` bytes of memory can be taken beyond what is in use."""
    if resource is None or not Path("/proc/self/statm").exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@st.composite
def damaged(draw: st.DrawFn, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Draw files of which one has a few things wrong; tensors' numbers are as they were."""
    name = draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    end = len(content)
    if name.endswith(".safetensors"):
        end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, min(end, len(content)) - 1))
        match draw(st.sampled_from(["byte", "digit", "absurd", "cut", "end", "more", "deep"])):
            case "byte":
                content[place] = draw(st.integers(0, 255))
            case "digit":  # of a shape, a place or a setting
                digits = [at for at in range(min(end, len(content))) if chr(content[at]).isdigit()]
                if digits:
                    content[digits[place % len(digits)]] = ord("0") + draw(st.integers(0, 9))
            case "absurd":
                content[:8] = draw(st.sampled_from([2**63, 2**64 - 1, 2**40, 10**8, 99])).to_bytes(
                    8, "little"
                )
            case "cut":
                del content[place + 1 :]
            case "end":
                del content[max(len(content) - 1 - place, 1) :]
            case "more" if len(content) >= len(files[name]):  # numbers that were cut stay cut
                content += bytes(place + 1)
            case "deep":
                content[place:place] = b"[" * draw(st.sampled_from([1, 10_000]))
    return {**files, name: bytes(content)}
