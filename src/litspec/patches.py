"""Patches: apply a diff to a module, or say where it nearly fits and what is wrong with it."""

import ast
import builtins
import difflib
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache

KNOWN = {*dir(builtins), "__name__", "__file__", "__doc__", "__path__", "__spec__", "__class__"}


def apply(diff: str, source: str) -> str:
    r"""Return a source with a diff applied; a line `@@` separates several places.

    Raises:
        ValueError: If the diff is empty or does not fit exactly one place.

    Examples:
        >>> apply("-one\n+1\n@@\n-three\n+3\n", "one\ntwo\nthree\n")
        '1\ntwo\n3\n'
    """
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        if stray := [line for line in lines if line[0] not in "-+ \n"]:
            raise ValueError(f"a line of the diff starts with none of - + space: {stray[0]!r}")
        old = "".join(line[1:] or line for line in lines if line[0] != "+")
        new = "".join(line[1:] or line for line in lines if line[0] != "-")
        if old == new or not old.strip():
            raise ValueError("the diff removes or changes no line")
        # Whole lines only: a hunk must not begin in the middle of one.
        places = [at.start() for at in re.finditer(f"^{re.escape(old)}", source, re.MULTILINE)]
        if len(places) != 1:
            why = _several(places, source) if places else _nearest(old, source)
            raise ValueError(f"the diff fits {len(places)} places, not one; {why}")
        source = source[: places[0]] + new + source[places[0] + len(old) :]
    return source


def _several(places: list[int], source: str) -> str:
    lines = [str(source.count("\n", 0, place) + 1) for place in places]
    return f"they begin at lines {' and '.join(lines)}: add a line of context that tells them apart"


def _nearest(old: str, source: str) -> str:
    """Say how the lines differ from those of the source that are most like them."""
    wanted, there = old.splitlines(), source.splitlines()
    size = len(wanted)
    windows = [there[at : at + size] for at in range(max(len(there) - size, 0) + 1)]
    plain = _dedent(wanted)
    for at, window in enumerate(windows, start=1):
        if _dedent(window) == plain:
            indent = _indent(window) - _indent(wanted)
            deeper = f"indented by {_indent(window)}" if indent else "without spaces at line ends"
            return f"indentation differs: it fits {deeper}, at line {at}"
    alike = [
        sum(
            difflib.SequenceMatcher(None, *pair).ratio()
            for pair in zip(window, wanted, strict=False)
        )
        for window in windows
    ]
    at = max(range(len(alike)), key=alike.__getitem__)
    pairs = zip(windows[at], wanted, strict=False)
    off, (has, says) = next(
        ((off, pair) for off, pair in enumerate(pairs) if pair[0] != pair[1]),
        (size - 1, ("", wanted[-1])),
    )
    return f"nearest is line {at + off + 1}, which reads\n    {has}\nand not\n    {says}"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _dedent(lines: list[str]) -> list[str]:
    return [line.rstrip() for line in textwrap.dedent("\n".join(lines)).split("\n")]


def _indent(lines: list[str]) -> int:
    return min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)


@dataclass(frozen=True)
class Names:
    """The names that a source defines anywhere, and those that it reads, each with its lines."""

    bound: dict[str, list[int]]
    read: dict[str, list[int]]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, source: str) -> "Names":
        """Return the names of a source. Where each is visible is not asked."""
        names = cls({}, {})
        for node in ast.walk(ast.parse(source)):
            line: int = getattr(node, "lineno", 1)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.read.setdefault(node.id, []).append(line)
                continue
            # A name, an argument, a definition, an import, an exception, a pattern: all bind one.
            for field in ("id", "arg", "name", "asname", "rest"):
                name = getattr(node, field, None)
                if isinstance(name, str):
                    name = name.partition(".")[0] if isinstance(node, ast.alias) else name
                    names.bound.setdefault(name, []).append(line)
        return names


def mistyped(source: str, changed: str) -> list[tuple[str, int, str | None]]:
    """Return the names that a changed source reads and nothing in it defines.

    Each comes with its line in the changed source, and with the known name that is most like it.
    Only the statements that changed are read again: a book has many mistakes.

    Raises:
        SyntaxError: If the changed source is no Python.
    """
    lines = changed.splitlines()
    start, end, more = _touched(source.splitlines(), lines)
    try:
        inside = Names.of("\n" * start + "\n".join(lines[start : end + more]))
    except SyntaxError:  # a statement may go on where it does not look so
        start, end, more = 0, len(source.splitlines()), len(lines) - len(source.splitlines())
        inside = Names.of(changed)
    before = Names.of(source)
    outside = {
        name for name, at in before.bound.items() if any(not start < line <= end for line in at)
    }
    bound = outside | inside.bound.keys() | KNOWN
    if "*" in bound:
        return []
    known_wrong = before.read.keys() - before.bound.keys() - KNOWN
    read = {name: at[0] for name, at in inside.read.items()}
    for name, at in before.read.items():
        for line in at:
            if not start < line <= end:
                read.setdefault(name, line if line <= start else line + more)
    return [
        (name, line, next(iter(difflib.get_close_matches(name, bound, 1)), None))
        for name, line in read.items()
        if name not in bound and name not in known_wrong
    ]


def _touched(old: list[str], new: list[str]) -> tuple[int, int, int]:
    """Return which of the old lines a change touches, as whole statements, and how many it adds."""
    size = min(len(old), len(new))
    start = next((at for at in range(size) if old[at] != new[at]), size)
    same = next((at for at in range(size - start) if old[-1 - at] != new[-1 - at]), size - start)
    end, more = len(old) - same, len(new) - len(old)
    while start and not (start < len(old) and _begins(old[start]) and _begins(new[start])):
        start -= 1
    while end < len(old) and not _begins(old[end]):
        end += 1
    return start, end, more


def _begins(line: str) -> bool:
    return bool(re.match(r"[\w@]", line)) and not re.match(r"(else|elif|except|finally)\b", line)
