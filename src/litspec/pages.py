"""Read a project: its pages with laws and mistakes, its modules, its law files.

A concept is one path, `attention/causal`: a page, a module and a law file that share it.
Nothing is imported and nothing is run, so all of a book is read in milliseconds.
"""

import ast
import importlib.util
import re
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"(?P<indent>[ ]*)/// (?P<kind>law|mistake|not-a-law|code)(?![\w-])"
    r"(?:[ ]*\|[ ]*(?P<id>\S*))?[ ]*$"
)
HEAD = re.compile(r"\A---\n(?P<head>(?:.*\n)*?)---\n")
FENCE = re.compile(r"[ ]*(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
CAUGHT_BY = re.compile(r"[ ]+caught-by:(?P<laws>.*)$")
REPORTED = re.compile(r"[ ]+reported:[ ]*(?P<where>.*?)[ ]*$")
KIND = re.compile(r"[ ]+kind:[ ]*(?P<kind>\S*)[ ]*$")
DIFF = re.compile(r"^```diff\n(?P<diff>.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCK_START = re.compile(r"^ */// (law|mistake)\b", re.MULTILINE)
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

    @property
    def name(self) -> str:
        """The id without the concept: `mask-off-by-one` of `causal.mask-off-by-one`."""
        return self.id.partition(".")[2]

    def apply(self, source: str) -> str:
        """Return the module's source with the mistake made.

        Raises:
            ValueError: If the diff is empty or does not fit exactly one place.
        """
        for hunk in re.split(r"^@@.*\n", self.diff, flags=re.MULTILINE):
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
                raise ValueError(f"the diff fits {len(places)} places, not one: {old.strip()!r}")
            source = source[: places[0]] + new + source[places[0] + len(old) :]
        return source


@dataclass(frozen=True)
class Property:
    """A test function of a law file."""

    name: str
    arguments: tuple[str, ...]
    line: int
    source: str


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
        """The law file's test functions by name."""
        return {} if not self.law_file.exists() else read_properties(self.law_file)

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
    def pages(self) -> list[str]:
        """The pages of the navigation, in reading order."""
        if not self.navigation.exists():
            return []
        lines = self.navigation.read_text(encoding="utf-8").splitlines()
        return re.findall(r"^ *- (?:[^#]*: )?(\S+\.md)$", "\n".join(lines), re.MULTILINE)

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
            if BLOCK_START.search(page.read_text(encoding="utf-8")):
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
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()[read_head(text)[1] :]
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "")


def read_page(file: Path) -> Page:  # noqa: PLR0912
    """Read the laws and mistakes of a page, passing by code fences that only show some."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    head, above = read_head(text)
    shown: list[Shown] = []
    laws: list[Law] = []
    mistakes: list[Mistake] = []
    findings: list[Finding] = []
    title, summary, fence = "", "", ""
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        if number <= above:
            continue
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
            body, closed = _body(numbered, match["indent"])
            if not closed or not match["id"]:
                wrong = f"is not closed by {match['indent']}///" if not closed else "has no id"
                findings.append(Finding(file, number, f"this {match['kind']} {wrong}"))
            elif match["kind"] == "law":
                law, wrong = _law(match["id"], body, number)
                laws.append(law)
                findings += [Finding(file, number, wrong)] if wrong else []
            elif match["kind"] == "mistake":
                mistakes.append(_mistake(match["id"], body, number))
            else:
                shown.append(Shown(match["kind"], match["id"], "\n".join(body), number))
    return Page(
        file, head, title, summary, tuple(laws), tuple(mistakes), tuple(shown), tuple(findings)
    )


def _body(numbered: Iterator[tuple[int, str]], indent: str) -> tuple[list[str], bool]:
    body: list[str] = []
    for _, line in numbered:
        if line.rstrip() == f"{indent}///":
            return body, True
        body.append(line.removeprefix(indent))
    return body, False


def _law(id: str, body: list[str], line: int) -> tuple[Law, str]:
    """Return a law, and what is wrong with its kind, if anything."""
    said = [match["kind"] for text in body if (match := KIND.match(text))]
    statement = " ".join("\n".join(text for text in body if not KIND.match(text)).split())
    refuses = id.partition(".")[2].startswith("rejects-")
    kind = said[0] if said else LawKind.ROBUSTNESS if refuses else LawKind.MATHEMATICS
    if kind not in set(LawKind):
        return Law(id, statement, line), f"law {id} has kind {kind!r}: {', '.join(LawKind)}"
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
            properties[name] = Property(node.name, arguments, node.lineno, textwrap.dedent(source))
    return properties
