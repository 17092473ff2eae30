"""Corpora: text to learn from, out of a folder, out of Python itself, out of a grammar."""

import ast
import hashlib
import json
import math
import os
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from pydoc_data.topics import topics
from typing import Literal

# --- A folder of articles ---

INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span|strong|sub|sup|"
    "time|tt|u|var|wbr"
)
SILENT = ("script", "style", "template")


class _HTML(HTMLParser):
    """Collects the paragraphs a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self.text = ""
        self.inside: Counter[str] = Counter()

    def handle_data(self, data: str) -> None:
        if not any(self.inside[tag] for tag in SILENT):
            self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.end_paragraph(tag)
        self.inside[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self.end_paragraph(tag)
        self.inside[tag] = max(0, self.inside[tag] - 1)

    def end_paragraph(self, tag: str) -> None:
        if not INLINE.fullmatch(tag):
            text = self.text.strip("\n") if self.inside["pre"] else " ".join(self.text.split())
            self.paragraphs += [text] if text else []
            self.text = ""


def _html(source: str) -> str:
    page = _HTML()
    page.feed(source)
    page.close()
    page.end_paragraph("html")
    return "\n\n".join(page.paragraphs)


def _notebook(source: str) -> str:
    try:
        return "\n\n".join("".join(cell["source"]) for cell in json.loads(source)["cells"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a notebook of format 4: no cells with a source") from error


READERS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys([".txt", ".md", ".rst", ".py"], str),
    ".ipynb": _notebook,
    **dict.fromkeys([".html", ".htm"], _html),
}


def read_folder(
    path: Path, *, unreadable: Literal["error", "skip"] = "error"
) -> tuple[list[str], list[Path]]:
    """Return the texts below a folder, by name, and the files that gave none.

    Reads `.txt .md .rst .py` as they are, of `.ipynb` the cells without their outputs, of
    `.html .htm` the visible text. Hidden files and folders (`.git`, `.ipynb_checkpoints`) are
    not looked at. An empty file gives no text and no error.

    Args:
        path: The folder, or a single file.
        unreadable: What to do with a file that is binary, not UTF-8, or broken.

    Raises:
        ValueError: If a file is unreadable and `unreadable` is "error", or if no text is found.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.html").write_text("<p>An <b>article</b>.</p>")
        ...     read_folder(Path(folder))
        (['An article.'], [])
    """
    if unreadable not in ("error", "skip"):
        raise ValueError(f"unreadable must be 'error' or 'skip', got {unreadable!r}")
    texts, skipped = [], []
    path = Path(path)
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if hidden or file.suffix.lower() not in READERS or not file.is_file():
            continue
        try:
            # utf-8-sig drops the byte order mark that Windows puts first.
            text = READERS[file.suffix.lower()](file.read_text(encoding="utf-8-sig"))
            if "\0" in text:
                raise ValueError("zero bytes, as in binary files")
        except (OSError, ValueError) as error:
            if unreadable == "error":
                raise ValueError(
                    f"cannot read {file} as UTF-8 text ({error}): "
                    "save it as UTF-8, take it out of the folder, or pass unreadable='skip'"
                ) from error
            text = ""
        if text.strip():
            texts.append(text)
        else:
            skipped.append(file)
    if not texts:
        raise ValueError(f"no text found in path {path}: it needs files {' '.join(READERS)}")
    return texts, skipped


# --- Python's own documentation ---

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


# --- Stories from a grammar ---

Grammar = Mapping[str, Sequence[str]]

# A symbol in braces is drawn at its first mention, all alternatives alike, and repeated after.
GRAMMAR: Grammar = {
    "story": ("{opening} {trouble} {alone} {ending}", "{opening} {trouble} {company} {ending}"),
    "opening": (
        "One {day} {name} the {animal} found a {colour} {thing} {place}.",
        "{name} the {animal} had a {colour} {thing} and kept it {place}.",
    ),
    "trouble": ("A {thief} carried it away.", "But it was {flaw}."),
    "alone": ("{name} {tried} all night.", "{name} sat down and {rested}."),
    "company": ('{friend} the {helper} came by and said, "{advice}"',),
    "ending": (
        "In the end {name} {loved} the {colour} {thing} more than ever.",
        "So {name} the {animal} made a new {thing}, and it was {colour} too.",
        "{name} never saw a {colour} {thing} again.",
    ),
    "day": ("morning", "evening", "Sunday", "winter day"),
    "name": ("Anna", "Ben", "Clara", "Daniel", "Emma", "Felix", "Greta", "Hugo"),
    "animal": ("mouse", "fox", "bear", "hare", "otter", "mole", "duck", "frog"),
    "colour": ("red", "blue", "green", "yellow"),
    "thing": ("kite", "lamp", "drum", "ball", "boat", "bell", "hat", "book"),
    "place": ("in the garden", "by the river", "under a bridge", "on the hill", "in the barn"),
    "thief": ("crow", "goat", "flood", "gust of wind"),
    "flaw": ("broken", "frozen", "stuck", "far too heavy"),
    "tried": ("tried", "waited", "worked", "cried"),
    "rested": ("thought", "sang", "slept"),
    "friend": ("Ida", "Jonas", "Karl", "Lotte"),
    "helper": ("owl", "ant", "elk", "eel"),
    "advice": ("Let us try together.", "Do not give up!", "Tomorrow is another day."),
    "loved": ("loved", "missed", "praised"),
}
_MENTION = re.compile(r"{(\w+)}")


def stories(count: int, *, seed: int, grammar: Grammar = GRAMMAR) -> list[str]:
    """Return stories drawn from the grammar; a longer list begins with the shorter one.

    Raises:
        ValueError: If `count` is negative.

    Examples:
        >>> stories(1, seed=0, grammar={"story": ["{who} met {who}."], "who": ["Ida"]})
        ['Ida met Ida.']
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    source = random.Random(seed)
    return [_tell("story", grammar, source, {}) for _ in range(count)]


def _tell(symbol: str, grammar: Grammar, source: random.Random, drawn: dict[str, str]) -> str:
    if symbol not in drawn:
        # Python promises the same numbers in every version for random() only.
        chosen = grammar[symbol][int(source.random() * len(grammar[symbol]))]
        drawn[symbol] = _MENTION.sub(lambda found: _tell(found[1], grammar, source, drawn), chosen)
    return drawn[symbol]


def story_entropy(grammar: Grammar = GRAMMAR) -> float:
    """Return the entropy of a story in nats: the loss of a perfect model.

    Exact if no two ways through the grammar give the same story.

    Examples:
        >>> story_entropy({"story": ["{who} met {who}."], "who": ["Ida", "Karl"]})
        0.6931471805599453
    """

    @cache
    def entropy(pending: tuple[str, ...], drawn: frozenset[str]) -> float:
        if not pending:
            return 0.0
        symbol, *rest = pending
        if symbol in drawn:
            return entropy(tuple(rest), drawn)
        ways = [(*_MENTION.findall(option), *rest) for option in grammar[symbol]]
        after = sum(entropy(way, drawn | {symbol}) for way in ways)
        return math.log(len(ways)) + after / len(ways)

    return entropy(("story",), frozenset())


# --- Train and validation ---


def split(documents: Sequence[str], *, validation: float = 0.1) -> tuple[list[str], list[str]]:
    """Return the documents to train on and those to validate on.

    A document's own content decides its side: twins stay together, and no document changes
    sides when others come or go.

    Args:
        documents: The texts.
        validation: Expected share of the documents held back, above 0 and below 1.

    Raises:
        ValueError: If `validation` is out of range, or a side would be empty.

    Examples:
        >>> split(["a", "b", "c", "d", "a"], validation=0.5)
        (['a', 'a'], ['b', 'c', 'd'])
    """
    if isinstance(documents, str):
        raise ValueError(f"documents must be a list of texts, got one text: {documents[:20]!r}")
    if not 0 < validation < 1:
        raise ValueError(f"validation must be above 0 and below 1, got {validation}")
    train: list[str] = []
    held_back: list[str] = []
    for document in documents:
        digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        (held_back if place < validation else train).append(document)
    if not train or not held_back:
        raise ValueError(
            f"validation={validation} of {len(documents)} documents leaves one side empty: "
            "give more documents, or split their tokens instead"
        )
    return train, held_back
