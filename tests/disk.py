"""Folders that hold what a law says, for as long as it looks at them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


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
