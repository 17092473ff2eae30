"""Python's documentation: a corpus of about 2 MB that every Python carries."""

import ast
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

# Folders that are not the library: its tests, what users installed, applications, tables.
SKIPPED = {
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "_bundled"),
    *("idlelib", "turtledemo", "lib2to3", "distutils", "encodings"),
}


def python_docs() -> list[str]:
    """Return the documentation this Python carries: help topics and docstrings, about 2 MB.

    Needs no download. Another version of Python gives another text.

    Raises:
        ValueError: If this Python came without the source of its library.
    """
    library = Path(sysconfig.get_path("stdlib"))
    return [*dict.fromkeys(topic.strip() for topic in topics.values()), *docstrings(library)]


def docstrings(folder: Path) -> Iterator[str]:
    """Yield each docstring of the Python sources below a folder, under the name it explains.

    The sources are read, never run. A docstring that repeats an earlier one is left out.

    Raises:
        ValueError: If `folder` is not a folder.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.py").write_text("def f(x): 'Do nothing.'")
        ...     print(*docstrings(Path(folder)))
        a.f(x)
        <BLANKLINE>
        Do nothing.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {folder} is not there: no Python sources to read")
    seen = set()
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(set(subfolders) - SKIPPED)
        for file in sorted(Path(parent, name) for name in names if name.endswith(".py")):
            module = ".".join(file.relative_to(folder).with_suffix("").parts)
            tree = ast.parse(file.read_bytes(), filename=str(file))
            for name, docstring in _explained(module.removesuffix(".__init__"), tree):
                if docstring not in seen:
                    seen.add(docstring)
                    yield f"{name}\n\n{docstring}"


def _explained(
    name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[tuple[str, str]]:
    if docstring := ast.get_docstring(node):  # cleaned as by inspect.cleandoc
        yield name, docstring
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                yield from _explained(f"{name}.{child.name}", child)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _explained(f"{name}.{child.name}({ast.unparse(child.args)})", child)
