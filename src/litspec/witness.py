"""What a law expected and what it got instead, told in a few numbers."""

import ast
import linecache
import math
import re
from typing import Any

MANY = 24  # numbers that can be looked at
LONG = 90  # characters that can be read
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?|nan|-?inf")
ARRAY = re.compile(
    r"\b(?:tensor|array)\((.*?)(?:,\s*(?:dtype|device|grad_fn|requires_grad)=(?:<[^>]*>|[^()\[\],]*))*\)",
    re.DOTALL,
)
COMPARED = re.compile(r"^assert (?P<got>.+?) == (?P<expected>.+)$")


def witness(error: BaseException, file: str = "") -> tuple[str, str] | None:
    """Return what was expected and what came instead, or None where the failure does not tell.

    Args:
        error: What the example fell to. Comparisons are recognized by their two arguments,
            `actual` and `expected`, as in the testing modules of NumPy and torch.
        file: The law file, whose line is shown where a plain `assert` fell.
    """
    pair, line, trace = None, "", error.__traceback__
    while trace:
        seen = trace.tb_frame.f_locals
        if "actual" in seen and "expected" in seen:
            pair = seen["expected"], seen["actual"]
        if trace.tb_frame.f_code.co_filename == file:
            line = linecache.getline(file, trace.tb_lineno).strip()
        trace = trace.tb_next
    text = str(error).strip().partition("\n")[0]
    if pair and not text.startswith("assert "):
        return side_by_side(*pair)
    if match := COMPARED.match(text):
        return short(unwrapped(match["expected"])), short(unwrapped(match["got"]))
    if text.startswith("assert "):
        claim = claimed(line)
        return (claim, "not so") if claim else None
    if text == "accepted what must be refused":
        return "an error", "accepted"
    return ("", short(text)) if text else None


def claimed(line: str) -> str:
    """Return what a line asserts, or nothing where it is no assertion that ends there."""
    try:
        [node] = ast.parse(line).body
    except (SyntaxError, ValueError):
        return ""
    return ast.unparse(node.test) if isinstance(node, ast.Assert) else ""


def side_by_side(expected: Any, got: Any) -> tuple[str, str]:
    """Return two values as texts in which their difference can be seen."""
    if not (hasattr(expected, "tolist") and hasattr(got, "tolist")):
        return differing(repr(expected), repr(got))
    shapes = tuple(getattr(expected, "shape", ())), tuple(getattr(got, "shape", ()))
    if shapes[0] != shapes[1]:
        return f"shape {list(shapes[0])}", f"shape {list(shapes[1])}"
    one, other = expected.tolist(), got.tolist()
    flat, flat_other = list(entries(one)), list(entries(other))
    if len(flat) > MANY:
        pairs = zip(flat, flat_other, strict=True)
        gaps = [(far(a, b), place, a, b) for (place, a), (_, b) in pairs]
        _, place, one, other = max(gaps, key=lambda gap: gap[0])
        where = f" at {list(place)}"
    else:
        where = ""
    for digits in (3, 4, 6, 9, 17):
        texts = numbers(one, digits), numbers(other, digits)
        if texts[0] != texts[1]:
            break
    if texts[0] == texts[1]:  # the types differ, and nothing else
        kinds = [str(getattr(value, "dtype", type(value).__name__)) for value in (expected, got)]
        return kinds[0].removeprefix("torch."), kinds[1].removeprefix("torch.")
    return texts[0] + where, texts[1] + where


def entries(value: Any, place: tuple[int, ...] = ()) -> Any:
    """Yield the numbers of nested lists with their places."""
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from entries(inner, (*place, at))
    else:
        yield place, value


def far(one: Any, other: Any) -> float:
    """Return how far apart two entries are; what is no number on one side is farthest."""
    gap = abs(one - other)
    if math.isnan(gap):
        return 0.0 if math.isnan(one) and math.isnan(other) else math.inf
    return float(gap)


def numbers(value: Any, digits: int) -> str:
    """Return nested lists as a text, its numbers rounded to some digits."""
    if isinstance(value, list):
        rows = [numbers(inner, digits) for inner in value]
        apart = ",\n " if rows and rows[0].startswith("[") else ", "
        return f"[{apart.join(rows)}]"
    return f"{value or 0.0:.{digits}g}" if isinstance(value, float) else repr(value)  # no -0


def differing(one: str, other: str) -> tuple[str, str]:
    """Return two texts, long ones from shortly before the place where they part."""
    if max(len(one), len(other)) <= LONG:
        return one, other
    pairs = zip(one, other, strict=False)
    part = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    start = max(0, part - LONG // 3)
    before = "…" if start else ""
    return (before + short(one[start:]), before + short(other[start:]))


def short(text: str) -> str:
    """Return a text cut where it becomes too long to read."""
    return text if len(text) <= LONG else text[:LONG] + "…"


def unwrapped(text: str) -> str:
    """Return a text on one line in which arrays are lists: `tensor([[0.]], …)` is `[[0]]`."""

    def tidy(found: re.Match[str]) -> str:
        inner = re.sub(r"(\d\.\d*?)0*(?=[\s,\]]|$)", lambda one: one[1].rstrip("."), found[1])
        return re.sub(r"\s+", " ", re.sub(r"\[\s+", "[", inner))  # no longer aligned

    return re.sub(r"\s*\n\s*", " ", ARRAY.sub(tidy, text))


def drawn(counterexample: str) -> list[tuple[str, str]]:
    """Return the names and values of a counterexample, the values on one line each."""
    parts = re.split(r"\n(?=\w+=)", counterexample) if counterexample else []
    return [(name, unwrapped(value)) for name, _, value in (one.partition("=") for one in parts)]
