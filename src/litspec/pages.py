"""Read a project: its pages with laws and mistakes, its modules, its law files.

A concept is one path, `attention/causal`: a page, a module and a law file that share it.
Nothing is imported and nothing is run, so all of a book is read in milliseconds.
"""

import ast
import difflib
import importlib.util
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from litspec import patches

BLOCK = re.compile(r"(?P<indent>[ ]*)/{3,} ?(?P<kind>[\w-]+)(?:[ ]*\|[ ]*(?P<id>.*?))?[ ]*$")
# What a page may open: litspec's own blocks, and those of pymdown-extensions.
OWN_BLOCKS = (
    "law", "mistake", "not-a-law", "code", "reference", "head", "ladder", "laws", "course",
    "conformance",
)  # fmt: skip
WITH_ID = ("law", "mistake", "not-a-law", "code")
OTHER_BLOCKS = (
    "admonition", "attention", "caption", "caution", "danger", "definition", "details", "error",
    "example", "figure-caption", "hint", "html", "info", "note", "quote", "tab", "table-caption",
    "tip", "warning",
)  # fmt: skip
QUOTED = r"""(?:"[^"]*"|'[^']*'|[^"'#:]+)"""
ENTRY = re.compile(
    rf"""[ ]*-[ ]+(?:{QUOTED}:[ ]+)?(?P<q>["']?)(?P<page>[^"'#:]+?\.md)(?P=q)[ ]*(?:#.*)?$"""
)
HEAD = re.compile(r"\A---\n(?P<head>(?:.*\n)*?)---\n")
FENCE = re.compile(r"[ ]*(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
CAUGHT_BY = re.compile(r"[ ]+caught-by:(?P<laws>.*)$")
REPORTED = re.compile(r"[ ]+reported:[ ]*(?P<where>.*?)[ ]*$")
KIND = re.compile(r"[ ]+kind:[ ]*(?P<kind>\S*)[ ]*$")
DIFF = re.compile(r"^```diff\n(?P<diff>.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCK_START = re.compile(r"^ */// (law|mistake)\b", re.MULTILINE)
NEXT_BLOCK = re.compile(rf"^ */// ?({'|'.join(WITH_ID)})(?![\w-])")
TODO = re.compile(r"\bTODO\b.*")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, where, and what to write instead."""

    file: Path
    line: int
    message: str


class LawKind(StrEnum):
    """What a law is about, which decides how much its breaking says."""

    MATHEMATICS = "mathematics"  # true of every sound implementation
    CONVENTION = "convention"  # a choice that others make otherwise
    MEASUREMENT = "measurement"  # of one corpus, or up to chance
    ROBUSTNESS = "robustness"  # bad input, devices, types, counts


@dataclass(frozen=True)
class Law:
    """A sentence that must hold for every input."""

    id: str
    statement: str
    line: int
    kind: LawKind = LawKind.MATHEMATICS

    @property
    def name(self) -> str:
        """The id without the concept: `no-future` of `causal.no-future`."""
        return self.id.partition(".")[2]

    @property
    def property(self) -> str:
        """The name of the function that proves it: `test_no_future`."""
        return "test_" + self.name.replace("-", "_")


@dataclass(frozen=True)
class Mistake:
    """A bug, as a diff against the module, with the laws that must catch it."""

    id: str
    caught_by: tuple[str, ...]
    diff: str
    story: str
    line: int
    reported: str = ""  # where it happened, with a link at the end; else it was made here
    diff_line: int = field(default=0, compare=False, repr=False)  # of the page, where it begins

    @property
    def name(self) -> str:
        """The id without the concept: `mask-off-by-one` of `causal.mask-off-by-one`."""
        return self.id.partition(".")[2]

    def apply(self, source: str) -> str:
        """Return the module's source with the mistake made.

        Raises:
            ValueError: If the diff is empty or does not fit exactly one place.
        """
        return patches.apply(self.diff, source)


@dataclass(frozen=True)
class Property:
    """A test function of a law file; `given` tells whether Hypothesis draws for it."""

    name: str
    arguments: tuple[str, ...]
    line: int
    source: str
    given: bool = True


@dataclass(frozen=True)
class Shown:
    """A block that shows something: code of a module, or a belief with its counterexample."""

    kind: str
    id: str
    body: str
    line: int


@dataclass(frozen=True)
class Page:
    """What a page states; `findings` are blocks that cannot be read."""

    file: Path
    head: dict[str, str] = field(default_factory=dict)  # what stands between two lines `---`
    title: str = ""
    summary: str = ""
    laws: tuple[Law, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    shown: tuple[Shown, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def needs(self) -> list[str] | None:
        """The names of the concepts to read first, or None where the page does not say."""
        return listed(self.head["needs"]) if "needs" in self.head else None

    @property
    def at(self) -> list[str]:
        """The stations of the pipeline that the page is about."""
        return listed(self.head.get("at", ""))


@dataclass(frozen=True)
class Concept:
    """A path with its page, module and law file, present or not."""

    path: str
    page: Page
    module: Path
    law_file: Path
    import_name: str

    @property
    def name(self) -> str:
        """The last part of the path, which is also the laws' argument: `causal`."""
        return self.path.rpartition("/")[2]

    @cached_property
    def properties(self) -> dict[str, Property]:
        """The law file's test functions by name; none where it cannot be read."""
        try:
            return {} if not self.law_file.exists() else read_properties(self.law_file)
        except (SyntaxError, ValueError):  # which is a finding of its own
            return {}

    @property
    def files(self) -> dict[str, Path]:
        """The three files that make the concept."""
        return {"page": self.page.file, "module": self.module, "laws": self.law_file}


@dataclass(frozen=True)
class Project:
    """A folder whose pyproject.toml has a `[tool.litspec]` table."""

    root: Path
    package: str
    docs: Path
    source: Path
    tests: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The `[tool.litspec]` table."""
        file = self.root / "pyproject.toml"
        found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["litspec"]
        return found

    @property
    def synonyms(self) -> dict[str, list[str]]:
        """Other programs' names of parts and arguments, by ours."""
        return dict(self.settings.get("synonyms", {}))

    @property
    def pipeline(self) -> list[dict[str, str]]:
        """The stations that everything passes, each with a name and perhaps a shape."""
        return list(self.settings.get("pipeline", []))

    @cached_property
    def titles(self) -> dict[str, str]:
        """The pages of the navigation by their titles, without `.md`."""
        return {
            read_title(self.docs / page): page.removesuffix(".md")
            for page in self.pages
            if (self.docs / page).exists()
        }

    @property
    def kit(self) -> str:
        """The module that an adapter takes `adapt` from."""
        return str(self.settings.get("kit", self.package))

    @classmethod
    def find(cls, start: Path) -> "Project":
        """Return the project that `start` lies in.

        Raises:
            ValueError: If no folder above has a pyproject.toml with `[tool.litspec]`.
        """
        for root in [start.resolve(), *start.resolve().parents]:
            if (file := root / "pyproject.toml").exists():
                settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
                if "package" in (table := settings.get("litspec", {})):
                    package = table["package"]
                    source = root / "src" / package
                    if not source.exists():  # a book that is installed beside its package
                        source = installed(package)
                    return cls(root, package, root / "docs", source, root / "tests")
        raise ValueError(
            f"no pyproject.toml at or above {start} has a [tool.litspec] table with a package"
        )

    @property
    def navigation(self) -> Path:
        """The file that puts the pages in order."""
        return self.root / "mkdocs.yml"

    @cached_property
    def entries(self) -> list[tuple[str, int]]:
        """The pages of the navigation in reading order, each with its line."""
        if not self.navigation.exists():
            return []
        found, inside = [], False
        for number, line in enumerate(read_text(self.navigation).splitlines(), start=1):
            if re.match(r"[^\s#-]", line):  # a key of its own
                inside = line.startswith("nav:")
            elif inside and (match := ENTRY.match(line)):
                found.append((match["page"], number))
        return found

    @property
    def pages(self) -> list[str]:
        """The pages of the navigation, in reading order."""
        return [page for page, _ in self.entries]

    def relative(self, file: Path) -> str:
        """Return a file's place from the project's root, as messages name it."""
        inside = file.is_relative_to(self.root)
        return (file.relative_to(self.root) if inside else file).as_posix()

    @cached_property
    def concepts(self) -> dict[str, Concept]:
        """All concepts by path, in the reading order of the navigation."""
        paths = {path: self.concept(path) for path in sorted(self._paths())}
        order = {page.removesuffix(".md"): place for place, page in enumerate(self.pages)}
        return dict(sorted(paths.items(), key=lambda item: order.get(item[0], len(order))))

    def concept(self, path: str) -> Concept:
        """Return the concept at a path, whether or not its files exist."""
        page = self.docs / f"{path}.md"
        part, _, name = path.rpartition("/")
        return Concept(
            path=path,
            page=read_page(page) if page.exists() else Page(page),
            module=self.source / f"{path}.py",
            law_file=self.tests / part / f"test_{name}.py",
            import_name=f"{self.package}.{path.replace('/', '.')}",
        )

    def _paths(self) -> Iterator[str]:
        """Yield paths that a page with laws, a module in a part, or its law file calls a concept.

        A module beside the parts (a command line, say) may go without a page.
        """
        for page in self.docs.rglob("*.md"):
            if BLOCK_START.search(read_text(page)):
                path = page.relative_to(self.docs).with_suffix("").as_posix()
                if read_page(page).laws or (self.source / f"{path}.py").exists():
                    yield path
        parts = [part for part in self.source.glob("[!_]*") if (part / "__init__.py").exists()]
        for part in parts:
            for module in part.rglob("[!_]*.py"):
                yield module.relative_to(self.source).with_suffix("").as_posix()
            for law_file in (self.tests / part.name).rglob("test_*.py"):
                place = law_file.relative_to(self.tests)
                yield place.with_name(place.stem.removeprefix("test_")).as_posix()


def installed(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        ValueError: If there is none.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the book is about the package {package}, which is not installed")
    return Path(spec.submodule_search_locations[0])


def listed(text: str) -> list[str]:
    """Return the parts of a list: `a, b` or `[a, b]`."""
    return [part.strip() for part in text.strip("[] ").split(",") if part.strip()]


def read_head(text: str) -> tuple[dict[str, str], int]:
    """Return the settings at the head of a page, and on how many lines they stand."""
    match = HEAD.match(text)
    lines = match["head"].splitlines() if match else []
    pairs = [line.partition(":") for line in lines if line.strip() and not line.startswith("#")]
    head = {key.strip(): value.strip().strip("'\"") for key, _, value in pairs}
    return head, len(lines) + 2 if match else 0


def read_title(file: Path) -> str:
    """Return the title of a page, reading no more than that."""
    text = read_text(file)
    lines = text.splitlines()[read_head(text)[1] :]
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "")


def read_text(file: Path) -> str:
    """Return a file's text; what is no UTF-8 shows as the sign for that, and is a finding."""
    return file.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")


def not_utf8(file: Path) -> list[Finding]:
    """Return the first byte of a file that is no UTF-8, as a finding, if there is one."""
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        return [Finding(file, line, f"this is not UTF-8 ({byte}): save the file in that encoding")]
    return []


def read_page(file: Path) -> Page:
    """Read the laws and mistakes of a page, passing by code fences that only show some."""
    text = read_text(file)
    lines = text.splitlines()
    head, at = read_head(text)
    blocks: list[Law | Mistake | Shown] = []
    findings = not_utf8(file)
    title, summary, fence = "", "", ""
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if match := FENCE.match(line):
            if not fence:
                fence = match["fence"]
                info = match["info"].strip()
                if info.startswith(("python ", "py ", "pycon")) and "exec=" not in info:
                    findings.append(
                        Finding(file, number, f"this never runs: write ```python, not {info!r}")
                    )
            elif match["fence"].startswith(fence) and not match["info"].strip():
                fence = ""
        elif fence:
            continue
        elif line.startswith("# ") and not title:
            title = line[2:].strip()
        elif title and not summary and line.strip() and not line.startswith(("#", "/", "!", "<")):
            summary = line.strip()
        elif match := BLOCK.match(line):
            read, wrong, size = _block(match, lines[at:], number)
            at += size
            blocks += [read] if read else []
            findings += [Finding(file, number, wrong)] if wrong else []
    laws = tuple(one for one in blocks if isinstance(one, Law))
    mistakes = tuple(one for one in blocks if isinstance(one, Mistake))
    shown = tuple(one for one in blocks if isinstance(one, Shown))
    return Page(file, head, title, summary, laws, mistakes, shown, tuple(findings))


def _block(
    match: re.Match[str], lines: list[str], number: int
) -> tuple[Law | Mistake | Shown | None, str, int]:
    """Return what a block holds, what is wrong with it, and how many lines it took."""
    kind, id, indent = match["kind"], match["id"] or "", match["indent"]
    if kind not in WITH_ID:
        known = kind in OWN_BLOCKS or kind in OTHER_BLOCKS
        hint = near(kind, OWN_BLOCKS) or f": there are {', '.join(OWN_BLOCKS)}"
        return None, "" if known else f"there is no block /// {kind}{hint}", 0
    body, closed = _body(lines, indent)
    size = len(body) + closed
    if not closed:
        return None, f"this {kind} is not closed by {indent}///", size
    if not id or " " in id:
        wrong = "has no id" if not id else f"has the id {id!r}, which must be one word"
        return None, f"this {kind} {wrong}", size
    if kind == "mistake":
        return _mistake(id, body, number), "", size
    if kind == "law":
        return *_law(id, body, number), size
    return Shown(kind, id, "\n".join(body), number), "", size


def near(word: str, known: Iterable[str]) -> str:
    """Return the question that a mistyped word deserves, or an empty text."""
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f": did you mean {found[0]}?" if found else ""


def _body(lines: list[str], indent: str) -> tuple[list[str], bool]:
    """Return the lines of a block, and whether it is closed before the next one begins."""
    body: list[str] = []
    for line in lines:
        if line.rstrip() == f"{indent}///":
            return body, True
        if NEXT_BLOCK.match(line):
            break
        body.append(line.removeprefix(indent))
    return body, False


def _law(id: str, body: list[str], line: int) -> tuple[Law, str]:
    """Return a law, and what is wrong with its kind, if anything."""
    said = [match["kind"] for text in body if (match := KIND.match(text))]
    statement = " ".join("\n".join(text for text in body if not KIND.match(text)).split())
    refuses = id.partition(".")[2].startswith("rejects-")
    kind = said[0] if said else LawKind.ROBUSTNESS if refuses else LawKind.MATHEMATICS
    if kind not in set(LawKind):
        hint = near(kind, LawKind) or f": there are {', '.join(LawKind)}"
        return Law(id, statement, line), f"law {id} has kind {kind!r}{hint}"
    return Law(id, statement, line, LawKind(kind)), ""


def _mistake(id: str, body: list[str], line: int) -> Mistake:
    laws = [match["laws"].split(",") for text in body if (match := CAUGHT_BY.match(text))]
    reported = [match["where"] for text in body if (match := REPORTED.match(text))]
    options = (CAUGHT_BY, REPORTED)
    text = "\n".join(text for text in body if not any(one.match(text) for one in options))
    diff = DIFF.search(text)
    return Mistake(
        id=id,
        caught_by=tuple(law.strip() for law in (laws[0] if laws else ()) if law.strip()),
        diff=diff["diff"] if diff else "",
        story=" ".join(DIFF.sub("", text).split()),
        line=line,
        reported=reported[0] if reported else "",
        diff_line=line + body.index("```diff") + 2 if diff else 0,
    )


def read_properties(file: Path) -> dict[str, Property]:
    """Return the test functions of a law file by name; of two with one name, both stay visible."""
    text = file.read_text(encoding="utf-8")
    properties: dict[str, Property] = {}
    for node in ast.parse(text, str(file)).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            source = "\n".join(text.splitlines()[start - 1 : node.end_lineno])
            arguments = tuple(argument.arg for argument in node.args.args)
            name = node.name + "'" if node.name in properties else node.name
            given = any("given" in ast.unparse(one) for one in node.decorator_list)
            properties[name] = Property(
                node.name, arguments, node.lineno, textwrap.dedent(source), given
            )
    return properties
