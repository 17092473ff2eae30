"""A page as a notebook: its prose, its examples and its code, to run and to change."""

import ast
import base64
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from litspec.code import names, read_code
from litspec.pages import FENCE, Project, read_head

PROMPT = re.compile(r"^(>>>|\.\.\.) ?")
OPENING = re.compile(r"[ ]*(?P<bar>/{3,}) ?(?P<kind>[\w-]+)[ ]*(?:\|[ ]*(?P<id>.*?))?[ ]*$")
CLOSING = re.compile(r"[ ]*/{3,}[ ]*$")
FOLD = re.compile(r'\?\?\?\+?[ ]+[\w-]+(?:[ ]+"(?P<title>.*)")?[ ]*$')
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)[^)]*\)")
LABELS = {"law": "Law", "mistake": "Mistake", "not-a-law": "Not a law"}
SHOW = """\
from IPython.display import HTML, display


def show(html):
    \"\"\"Show a figure.\"\"\"
    display(HTML(html))"""


def notebook(project: Project, path: str) -> str:
    """Return a page's notebook in Jupyter's format, version 4.

    Args:
        project: The book.
        path: The page, without `.md`.
    """
    nbformat = import_module("nbformat")  # what only reads and judges does without

    v4 = nbformat.v4
    made: list[Any] = []
    for kind, text in cells(project, path):
        new = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
        made.append(new(text, id=f"cell-{len(made)}"))  # the same page is the same notebook
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = v4.new_notebook(cells=made, metadata={"kernelspec": kernel})
    nbformat.validate(whole)
    return str(nbformat.writes(whole, indent=0))


def link(project: Project, path: str) -> str:
    """Return a page's notebook as a link that holds it, or nothing if it has no code."""
    try:
        text = notebook(project, path)
    except ImportError:
        return ""
    if '"code"' not in text:
        return ""
    return f"data:application/x-ipynb+json;base64,{base64.b64encode(text.encode()).decode()}"


def cells(project: Project, path: str) -> list[tuple[str, str]]:
    """Return the cells of a page: `markdown` or `code`, and its text."""
    found: list[tuple[str, str]] = []
    for kind, said in pieces(project, path):
        text = said.strip("\n")
        if not text.strip():
            continue
        if found and kind == found[-1][0] == "markdown":
            found[-1] = (kind, f"{found[-1][1]}\n\n{text}")
        else:
            found.append((kind, text))
    if any("show(" in text for kind, text in found if kind == "code"):
        found.insert(1 if found[0][0] == "markdown" else 0, ("code", SHOW))
    return found


def pieces(project: Project, path: str) -> Iterator[tuple[str, str]]:  # noqa: PLR0912
    """Yield what a page says, in order; its reference part is left to the site."""
    text = (project.docs / f"{path}.md").read_text(encoding="utf-8")
    lines = text.splitlines()[read_head(text)[1] :]
    prose: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if fence := FENCE.match(line):
            end = next(
                (n for n in range(at, len(lines)) if closes(lines[n], fence["fence"])), len(lines)
            )
            inside = [one.removeprefix(indent_of(line)) for one in lines[at:end]]
            info = fence["info"].strip()
            if info.partition(" ")[0] == "python":
                yield "markdown", plain(prose)
                prose = []
                yield "code", as_code(inside, html='html="' in info)
            else:
                prose += [line.strip(), *inside, fence["fence"]]
            at = end + 1
        elif opening := OPENING.match(line):
            kind, id = opening["kind"], opening["id"] or ""
            if kind == "reference":
                bar = opening["bar"]
                at = next((n + 1 for n in range(at, len(lines)) if lines[n].strip() == bar), at)
            elif kind == "code":
                yield "markdown", plain(prose)
                prose = []
                yield "code", runnable(project, id)
            elif kind in LABELS:
                prose += ["", f"**{LABELS[kind]}** `{id}`", ""]
                while at < len(lines) and lines[at].startswith("    ") and lines[at].strip():
                    at += 1  # the options
        elif CLOSING.match(line) or line.strip().startswith("::: "):
            prose.append("")
        elif fold := FOLD.match(line):
            prose += [f"**{fold['title'] or 'Note'}**", ""]
            end = at
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith("    ")):
                lines[end] = lines[end].removeprefix("    ")
                end += 1
        else:
            prose.append(line)
    yield "markdown", plain(prose)


def closes(line: str, fence: str) -> bool:
    """Return whether a line closes a fence."""
    match = FENCE.match(line)
    return bool(match and match["fence"].startswith(fence) and not match["info"].strip())


def indent_of(line: str) -> str:
    """Return the spaces that a line begins with."""
    return line[: len(line) - len(line.lstrip())]


def plain(prose: list[str]) -> str:
    """Return prose whose links within the book are plain text."""
    return LINK.sub(r"\1", "\n".join(prose))


def as_code(lines: list[str], *, html: bool) -> str:
    """Return examples without prompts and outputs; what prints HTML shows it."""
    if any(line.startswith(">>>") for line in lines):
        return "\n".join(PROMPT.sub("", line) for line in lines if PROMPT.match(line))
    code = "\n".join(lines)
    return re.sub(r"\bprint\(", "show(", code) if html else code


def runnable(project: Project, id: str) -> str:
    """Return code of a module below the imports that it needs."""
    name, _, what = id.partition(".")
    concept = next(one for one in project.concepts.values() if one.name == name)
    source = concept.module.read_text(encoding="utf-8")
    code = read_code(source, what)
    given = {name for statement in ast.parse(source).body for name in names(statement)}
    own = given & set(re.findall(r"\b_\w+", code)) - {what.partition(".")[0]}
    helpers = f"\nfrom {concept.import_name} import {', '.join(sorted(own))}" if own else ""
    return f"from {concept.import_name} import *{helpers}\n\n\n{code}"
