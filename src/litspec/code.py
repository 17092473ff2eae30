"""The code of a module as a page shows it: as it stands there, without docstrings."""

import ast
import textwrap

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def read_code(source: str, name: str = "") -> str:
    """Return a function, class, method or constant of a module, without docstrings.

    Args:
        source: The module.
        name: What to show, `Class.method` for a method; all of the module if empty.

    Raises:
        ValueError: If there is nothing of that name.
    """
    node: ast.AST = ast.parse(source)
    for part in filter(None, name.split(".")):
        inside = [one for one in getattr(node, "body", []) if part in names(one)]
        if not inside:
            raise ValueError(f"the module has no {name}")
        node = inside[0]
    lines = source.splitlines()
    decorators = [one.lineno for one in getattr(node, "decorator_list", [])]
    first = min([getattr(node, "lineno", 1), *decorators])
    last = getattr(node, "end_lineno", len(lines))
    hidden = {number for one in ast.walk(node) for number in docstring(one, lines)}
    kept = [lines[at - 1] for at in range(first, last + 1) if at not in hidden]
    return textwrap.dedent("\n".join(kept)).strip("\n")


def names(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a module or class gives."""
    if isinstance(node, SCOPES):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets += [node.target] if isinstance(node, ast.AnnAssign) else []
    return {ast.unparse(target) for target in targets}


def docstring(node: ast.AST, lines: list[str]) -> set[int]:
    """Return the lines of a docstring with the empty one below; none where all else is missing."""
    body = node.body if isinstance(node, (*SCOPES, ast.Module)) else []
    if len(body) < 2 or not isinstance(body[0], ast.Expr):
        return set()
    first, last = body[0].lineno, body[0].end_lineno or body[0].lineno
    text = isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)
    below = last < len(lines) and not lines[last].strip()
    return set(range(first, last + 1 + below)) if text else set()
