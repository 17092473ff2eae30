"""Which of a project's files a file depends on, read from its imports; nothing is run."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from litspec.pages import Project, read_text


def closure(project: Project, file: Path) -> set[Path]:
    """Return a file and all files of the project that it imports, directly or through others."""
    roots = (project.source.parent, project.tests)
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one in found or not one.exists():
            continue
        found.add(one)
        stamp = one.stat()
        for name in _imports(one, stamp.st_mtime_ns, stamp.st_size):
            waiting += _files(name, one, roots)
    return found


def _files(name: str, importer: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files that a dotted name may stand for: packages on the way, and the module."""
    level = len(name) - len(name.lstrip("."))
    parts = name.lstrip(".").split(".")
    for root in (importer.parents[level - 1],) if level else roots:
        for depth in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:depth])
            yield from (one for one in (place / "__init__.py", place.with_suffix(".py")))


@lru_cache(maxsize=1024)
def _imports(file: Path, _mtime: int, _size: int) -> tuple[str, ...]:
    """Return the dotted names that a file imports; of `from a import b`, both `a` and `a.b`."""
    try:
        tree = ast.parse(read_text(file), str(file))
    except SyntaxError:
        return ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            dot = "." if node.module else ""
            names += [f"{module}{dot}{one.name}" for one in node.names]
    return tuple(dict.fromkeys(names))
