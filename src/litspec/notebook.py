"""A page as a notebook: its prose, its examples and its code, to run and to change."""

import ast
import base64
import doctest
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from litspec.code import names, read_code
from litspec.pages import FENCE, Project, read_head

OPENING = re.compile(r"[ ]*(?P<bar>/{3,}) ?(?P<kind>[\w-]+)[ ]*(?:\|[ ]*(?P<id>.*?))?[ ]*$")
CLOSING = re.compile(r"[ ]*/{3,}[ ]*$")
FOLD = re.compile(r'\?\?\?\+?[ ]+[\w-]+(?:[ ]+"(?P<title>.*)")?[ ]*$')
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)[^)]*\)")
LABELS = {"law": "Law", "mistake": "Mistake", "not-a-law": "Not a law"}
SHOW = """\
from IPython.display import HTML, display


def show(*html):
    \"\"\"Show a figure.\"\"\"
    display(HTML(" ".join(html)))"""


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
    """Return examples without prompts and outputs; what prints HTML shows it.

    An example that ends in an error, which the page shows, prints it.
    """
    code = "\n".join(lines)
    if any(line.startswith(">>>") for line in lines):
        return "\n".join(
            example.source.rstrip("\n") if example.exc_msg is None else caught(example)
            for example in doctest.DocTestParser().get_examples(code)
        )
    return re.sub(r"\bprint\(", "show(", code) if html else code


def caught(example: doctest.Example) -> str:
    """Return an example whose error is printed."""
    kind = str(example.exc_msg).partition(":")[0].strip()
    body = textwrap.indent(example.source.rstrip("\n"), "    ")
    return f"try:\n{body}\nexcept {kind} as error:\n    print(error)"


def runnable(project: Project, id: str) -> str:
    """Return code of a module below the imports that it needs."""
    name, _, what = id.partition(".")
    concept = next(one for one in project.concepts.values() if one.name == name)
    source = concept.module.read_text(encoding="utf-8")
    code = read_code(source, what)
    statements = ast.parse(source).body
    given = {name for statement in statements for name in names(statement)} | {
        (alias.asname or alias.name).partition(".")[0]
        for one in statements
        if isinstance(one, ast.Import | ast.ImportFrom)
        for alias in one.names
    }
    listed = [
        ast.literal_eval(one.value)
        for one in statements
        if isinstance(one, ast.Assign) and "__all__" in names(one)
    ]
    starred = set(listed[0]) if listed else {name for name in given if name[0] != "_"}
    own = (given & set(re.findall(r"\b\w+", code))) - starred - {what.partition(".")[0]}
    helpers = f"\nfrom {concept.import_name} import {', '.join(sorted(own))}" if own else ""
    return f"from {concept.import_name} import *{helpers}\n\n\n{code}"
