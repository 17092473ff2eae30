"""Exercises: a concept's module with its bodies taken out, for a reader to write again."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from litspec.pages import Concept, Project

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
TO_DO = "raise NotImplementedError"


def exercise(project: Project, concept: Concept, folder: Path) -> Path:
    """Write the exercise of a concept and return its file.

    Raises:
        ValueError: If the file is there already: it may hold a reader's work.
    """
    file = folder / f"{concept.path}.py"
    if file.exists():
        raise ValueError(f"{file} is there already: go on with it, or move it away first")
    file.parent.mkdir(parents=True, exist_ok=True)
    page = concept.page.file.relative_to(project.root)
    source = concept.module.read_text(encoding="utf-8")
    file.write_text(f"# An exercise of {page}\n{empty(source)}", encoding="utf-8")
    return file


def unwritten(source: str) -> list[str]:
    r"""Return the functions and methods whose body is nothing but `raise NotImplementedError`.

    Examples:
        >>> unwritten("def one(): raise NotImplementedError\nclass A:\n    def two(self): return 2")
        ['one']
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [
        f"{outer.name}.{node.name}" if isinstance(outer, ast.ClassDef) else node.name
        for outer in ast.walk(tree)
        if isinstance(outer, ast.Module | ast.ClassDef)
        for node in outer.body
        if isinstance(node, Function) and _body(node) == [TO_DO]
    ]


def _body(node: Function) -> list[str]:
    """Return the statements of a function, without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return [ast.unparse(line) for line in body]


def empty(source: str) -> str:
    r"""Return a module with signatures, annotations, docstrings and constants, but no bodies.

    Private functions and classes that are used in bodies alone are left out: how to divide the
    work is the reader's choice.

    Examples:
        >>> print(empty("def twice(n: int) -> int:\n    '''Return 2 n.'''\n    return n + n"))
        def twice(n: int) -> int:
            '''Return 2 n.'''
            raise NotImplementedError
        <BLANKLINE>
    """
    tree = ast.parse(source)
    kept = {node.id for node in _outside_bodies(tree) if isinstance(node, ast.Name)}
    lines = source.splitlines()
    for node in sorted(_definitions(tree.body, kept), key=lambda node: -node.lineno):
        if _left_out(node, kept):
            first = min(one.lineno for one in [*node.decorator_list, node])
            lines[first - 1 : node.end_lineno] = []
        elif isinstance(node, Function):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            end = node.end_lineno or node.lineno
            start = node.body[0].end_lineno or end if has_docstring else node.body[0].lineno - 1
            column = node.body[0].col_offset
            before = lines[start][:column] if not has_docstring else " " * column
            lines[start:end] = [f"{before}{TO_DO}"]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)) + "\n"


def to_write(source: str) -> tuple[int, int]:
    """Return how many bodies an exercise leaves to write, and how many lines the reference took."""
    functions = lines = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            body = node.body[ast.get_docstring(node) is not None :]
            functions += bool(body)
            lines += sum((one.end_lineno or 0) - one.lineno + 1 for one in body)
    return functions, lines


def _definitions(body: Sequence[ast.stmt], kept: set[str]) -> Iterator[Definition]:
    """Yield functions, methods and classes, but not what stands inside one that is left out."""
    for node in body:
        if isinstance(node, Definition):
            yield node
            if isinstance(node, ast.ClassDef) and not _left_out(node, kept):
                yield from _definitions(node.body, kept)


def _left_out(node: Definition, kept: set[str]) -> bool:
    private = node.name.startswith("_") and not node.name.endswith("__")
    return private and node.name not in kept


def _outside_bodies(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is evaluated when the module is imported, annotations included."""
    yield node
    for child in ast.iter_child_nodes(node):
        inside = isinstance(node, Function) and isinstance(child, ast.stmt)
        if not inside:
            yield from _outside_bodies(child)
