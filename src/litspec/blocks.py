"""The site's blocks, as a Markdown extension.

Laws and mistakes, beliefs that are no law, code of the modules, the head of a page, the reference
part at its end, and tables and maps of all. What they show comes from the pages, the law files and
the report of the laws. Where the report does not speak for a page as it stands, a warning says so,
which fails a strict build.
"""

import ast
import logging
import os
import re
from html import escape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pymdownx.blocks import BlocksExtension
from pymdownx.blocks.block import Block, type_string

from litspec import report as reports
from litspec.code import read_code
from litspec.conformance import ConformanceBlock
from litspec.exercise import to_write
from litspec.notebook import link as notebook_link
from litspec.outcomes import Kind, Outcome
from litspec.pages import Concept, Law, LawKind, Mistake, Project, read_page
from litspec.report import Report, Result
from litspec.witness import NUMBER, drawn

READABLE = 120  # characters of an input that is shown
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")  # relative to its own page
WEB = re.compile(r"\s*(?P<url>https?://\S+)$")  # at the end of where a mistake happened
ABOUT = {  # what the labels say when one stays on them
    LawKind.CONVENTION: "a choice that others make otherwise",
    LawKind.MEASUREMENT: "up to chance, or of one corpus",
    LawKind.ROBUSTNESS: "bad input, devices, types, counts",
}
log = logging.getLogger("mkdocs.litspec")  # a warning of `mkdocs.*` fails a strict build


class Bound(Block):  # type: ignore[misc]
    """A block that belongs to a concept."""

    NAME = ""
    TITLE = ""
    ARGUMENT = True

    def on_create(self, parent: Element) -> Element:
        """Open a section whose heading has the id, so that every one has an address.

        The heading says in plain words what the id says: the search lists it. It becomes one at
        the end (`Titles`), so that the table of contents passes it by.
        """
        section = SubElement(parent, "section", {"class": self.NAME})
        words = self.argument.partition(".")[2].replace("-", " ")
        title = {"class": "bound-title", "id": self.argument}
        SubElement(section, "p", title).text = f"{self.TITLE}: {words}"
        head = SubElement(section, "p", {"class": "bound-id"})
        SubElement(head, "a", {"href": f"#{self.argument}"}).text = self.argument
        return section

    @property
    def concept(self) -> Concept | None:
        """The concept that the id begins with."""
        project: Project = self.config["project"]
        name = self.argument.partition(".")[0]
        return next((one for one in project.concepts.values() if one.name == name), None)

    def results(self, concept: Concept) -> list[Result]:
        """Return what the report saw of a concept, warning once a page if that is stale."""
        report: Report = self.config["report"]
        project: Project = self.config["project"]
        warned: set[str] = self.config["warned"]
        if (why := reports.stale(project, concept, report)) and concept.path not in warned:
            warned.add(concept.path)
            log.warning("%s: %s: run the laws again", concept.path, why)
        return report[concept.path]["results"] if concept.path in report else []

    def html(self, parent: Element, html: str) -> None:
        """Put finished HTML into the page."""
        SubElement(parent, "div").text = self.md.htmlStash.store(html)


class LawBlock(Bound):
    """A law: its kind, its statement, who passed it, and its property folded."""

    NAME = "law"
    TITLE = "Law"
    OPTIONS = {"kind": ["", type_string]}  # noqa: RUF012 — the base class wants a dict

    def on_create(self, parent: Element) -> Element:
        """Say beside the address what a law is about, where that is not mathematics."""
        section = super().on_create(parent)
        law = self.law
        if law and law.kind is not LawKind.MATHEMATICS:
            about = {"class": "kind", "title": ABOUT[law.kind]}
            SubElement(section[1], "span", about).text = law.kind
        return section

    @property
    def law(self) -> Law | None:
        """The law of this address."""
        laws = self.concept.page.laws if self.concept else ()
        return next((one for one in laws if one.id == self.argument), None)

    def on_end(self, block: Element) -> None:
        """Add what the suite saw and the property's source."""
        concept = self.concept
        law = self.law
        if not concept or not law:
            log.warning("law %s belongs to no concept", self.argument)
            return
        seen = [
            (result["implementation"], Outcome(result["outcome"]), result["examples"])
            for result in self.results(concept)
            if result["law"] == law.name and result["kind"] != Kind.MISTAKE
        ]
        words = [
            f"{'holds' if outcome is Outcome.PASSED else outcome} for {escape(name)}, {count} "
            f"example{'s' * (count != 1)} tried"
            for name, outcome, count in seen
        ] or ["not run"]
        property = concept.properties.get(law.property)
        source = coloured(property.source if property else "")
        summary = "; ".join(words).capitalize()
        self.html(
            block,
            f"<details data-search-exclude><summary>{summary}</summary>{source}</details>",
        )


class MistakeBlock(Bound):
    """A mistake: its diff and story, the laws that caught it and the counterexamples."""

    NAME = "mistake"
    TITLE = "Mistake"
    OPTIONS = {"caught-by": ["", type_string], "reported": ["", type_string]}  # noqa: RUF012

    def on_create(self, parent: Element) -> Element:
        """Say beside the address whether the mistake happened somewhere, or could."""
        section = super().on_create(parent)
        reported = str(self.options["reported"])
        label = SubElement(section[1], "span", {"class": "kind"})
        if not reported:
            label.text = "plausible"
            label.set("title", "made here to test a law")
        elif match := WEB.search(reported):
            label.text = "reported: "
            where = reported[: match.start()].rstrip(" ,:") or match["url"]
            SubElement(label, "a", {"href": match["url"]}).text = where
        else:
            label.text = f"reported: {reported}"
        return section

    @property
    def mistake(self) -> Mistake | None:
        """The mistake of this address."""
        mistakes = self.concept.page.mistakes if self.concept else ()
        return next((one for one in mistakes if one.id == self.argument), None)

    def on_end(self, block: Element) -> None:
        """Add which laws caught the mistake: the first with its smallest counterexample."""
        concept, mistake = self.concept, self.mistake
        if not concept or not mistake:
            log.warning("mistake %s belongs to no concept", self.argument)
            return
        mine = f"mistake:{mistake.name}"
        results = [one for one in self.results(concept) if one["implementation"] == mine]
        order = {id: place for place, id in enumerate(mistake.caught_by)}
        results.sort(key=lambda one: order.get(f"{concept.name}.{one['law']}", len(order)))
        if not results:
            return
        first, *others = results  # only the first was looked for the smallest example
        also = [f"{concept.name}.{one['law']}" for one in others]
        links = ", ".join(f'<a href="#{id}">{id}</a>' for id in also)
        further = f'<p class="further">Caught also by {links}</p>' if also else ""
        self.html(block, told(concept, first) + raw(first) + further)


def coloured(code: str) -> str:
    """Return Python code as HTML."""
    return highlight(code, PythonLexer(), HtmlFormatter(cssclass="highlight", wrapcode=True))


def told(concept: Concept, result: Result) -> str:
    """Return which law caught a mistake, on what, and what it expected beside what it got."""
    id = f"{concept.name}.{result['law']}"
    inputs = [
        f"<code>{escape(name)} = {escape(value)}</code>"
        for name, value in drawn(result.get("counterexample", ""))
        if len(value) <= READABLE
    ]
    on = f" on {', '.join(inputs)}" if inputs else ""
    words = f'<p>{escape(result["outcome"]).capitalize()} by <a href="#{id}">{id}</a>{on}</p>'
    expected, got = result.get("expected", ""), result.get("got", "")
    if not got:
        return f'<div class="witness">{words}</div>'
    heads, cells = "<th>got</th>", f"<td><code>{marked(got, expected)}</code></td>"
    if expected:
        heads = "<th>expected</th>" + heads
        cells = f"<td><code>{escape(expected)}</code></td>" + cells
    return (
        f'<div class="witness">{words}<table class="witnessed"><thead><tr>{heads}</tr></thead>'
        f"<tbody><tr>{cells}</tr></tbody></table></div>"
    )


def marked(got: str, expected: str) -> str:
    """Return what came, with each number marked that is another than expected."""
    right, found = NUMBER.findall(expected), NUMBER.findall(got)
    if len(right) != len(found) or not right:
        return escape(got)
    wanted = iter(right)

    def mark(match: re.Match[str]) -> str:
        return match[0] if match[0] == next(wanted) else f"<mark>{match[0]}</mark>"

    return NUMBER.sub(mark, escape(got, quote=False))


def raw(result: Result) -> str:
    """Return, folded, what the suite printed."""
    shown = [result.get("counterexample", ""), result.get("error", "")]
    text = escape("\n\n".join(part for part in shown if part))
    return (
        "<details data-search-exclude><summary>Test output</summary>"
        f'<pre class="counterexample" tabindex="0">{text}</pre></details>'
        if text
        else ""
    )


class NotALawBlock(Bound):
    """What many believe and what is not so, with an example that the suite runs."""

    NAME = "not-a-law"
    TITLE = "Not a law"


class CodeBlock(Block):  # type: ignore[misc]
    """A function, a class or a method of a concept's module, without its docstrings."""

    NAME = "code"
    ARGUMENT = True

    def on_create(self, parent: Element) -> Element:
        """Show the code as it is."""
        project: Project = self.config["project"]
        name, _, what = self.argument.partition(".")
        concept = next((one for one in project.concepts.values() if one.name == name), None)
        division = SubElement(parent, "div", {"class": "code-of", "data-code": self.argument})
        try:
            if concept is None:
                raise ValueError(f"no concept is named {name}")
            code = read_code(concept.module.read_text(encoding="utf-8"), what)
        except (OSError, ValueError) as error:
            log.warning("code %s: %s", self.argument, error)
            return division
        division.text = self.md.htmlStash.store(coloured(code))
        return division


class ReferenceBlock(Block):  # type: ignore[misc]
    """The end of a page, folded: other laws, plain mistakes, signatures."""

    NAME = "reference"
    ARGUMENT = None

    def on_create(self, parent: Element) -> Element:
        """Open what folds."""
        details = SubElement(parent, "details", {"class": "reference"})
        SubElement(details, "summary")
        return details

    def on_end(self, block: Element) -> None:
        """Say on the fold what is inside."""
        kinds = [(section.get("class"), section) for section in block.iter("section")]
        laws = sum(kind == "law" for kind, _ in kinds)
        mistakes = sum(kind == "mistake" for kind, _ in kinds)
        parts = [
            *([f"{laws} more law{'s' * (laws > 1)}"] if laws else []),
            *([f"{mistakes} more mistake{'s' * (mistakes > 1)}"] if mistakes else []),
            "the full signatures",
        ]
        block[0].text = ", ".join(parts)[0].upper() + ", ".join(parts)[1:]


class HeadBlock(Block):  # type: ignore[misc]
    """The head of a page: where it is in the whole, minutes, what to read first, a notebook.

    It is put below a page's title from what the page's head declares.
    """

    NAME = "head"
    ARGUMENT = True

    def on_create(self, parent: Element) -> Element:
        """Draw the pipeline and say what a reader wants to know first."""
        project: Project = self.config["project"]
        path = self.argument
        page = read_page(project.docs / f"{path}.md")
        header = SubElement(parent, "div", {"class": "page-head"})
        if project.pipeline and page.at:
            strip = SubElement(header, "ol", {"class": "pipeline", "aria-label": "Where we are"})
            for station in project.pipeline:
                here = {"aria-current": "step"} if station["name"] in page.at else {}
                item = SubElement(strip, "li", here)
                SubElement(item, "span").text = station["name"]
                own = page.head.get("shape") if station["name"] == page.at[-1] else None
                if shape := own or station.get("shape"):
                    SubElement(item, "small").text = shape
        facts = SubElement(header, "p", {"class": "facts"})
        if minutes := page.head.get("minutes"):
            SubElement(facts, "span").text = f"{minutes} minutes"
        if page.needs:
            needs = SubElement(facts, "span")
            needs.text = "Needs: "
            needed = [one for one in project.concepts.values() if one.name in page.needs]
            for place, one in enumerate(needed):
                link = SubElement(needs, "a", {"href": relative(one.path, path)})
                link.text = one.page.title
                link.tail = ", " if place < len(needed) - 1 else ""
        if (data := notebook_link(project, path)) and path in project.concepts:
            name = f"{path.rpartition('/')[2]}.ipynb"
            notebook = {"href": data, "download": name}
            SubElement(SubElement(facts, "span"), "a", notebook).text = "Download as notebook"
        return header


class LadderBlock(Block):  # type: ignore[misc]
    """The map of all concepts: each on the rung above all that it needs."""

    NAME = "ladder"
    ARGUMENT = None

    def on_create(self, parent: Element) -> Element:
        """Write a list of rungs, drawn from what the pages say that they need."""
        project: Project = self.config["project"]
        ladder = SubElement(parent, "ol", {"class": "ladder"})
        for concepts in rungs(project):
            rung = SubElement(ladder, "li")
            for concept in concepts:
                needs = ", ".join(concept.page.needs or ()) or "nothing"
                link = {"href": f"{concept.path}.md", "title": f"needs {needs}"}
                SubElement(rung, "a", link).text = concept.page.title
        return ladder


def rungs(project: Project) -> list[list[Concept]]:
    """Return the concepts by how many steps above the first ones they are."""
    by_name = {concept.name: concept for concept in project.concepts.values()}
    height: dict[str, int] = {}
    for name, concept in by_name.items():  # in reading order, so all that is needed has a height
        needs = concept.page.needs or []
        height[name] = max((height[one] + 1 for one in needs if one in height), default=0)
    top = max(height.values(), default=-1)
    return [[by_name[name] for name in by_name if height[name] == at] for at in range(top + 1)]


def relative(path: str, start: str) -> str:
    """Return the link from one page to another."""
    return Path(os.path.relpath(f"{path}.md", Path(start).parent)).as_posix()


class Heads(Preprocessor):
    """Puts a page's head below its title. A page is known by its title, which is its own."""

    def __init__(self, md: Markdown, project: Project) -> None:
        super().__init__(md)
        self.project = project

    def run(self, lines: list[str]) -> list[str]:
        """Return the page's lines with the block of its head."""
        first = next((at for at, line in enumerate(lines) if line.strip()), None)
        if first is None or not lines[first].startswith("# "):
            return lines
        path = self.project.titles.get(lines[first][2:].strip())
        if path is None or not read_page(self.project.docs / f"{path}.md").head:
            return lines
        return [*lines[: first + 1], "", f"/// head | {path}", "///", "", *lines[first + 1 :]]


class LawsBlock(Block):  # type: ignore[misc]
    """The table of all laws."""

    NAME = "laws"
    ARGUMENT = None

    def on_create(self, parent: Element) -> Element:
        """Write a table for each concept, in reading order."""
        project: Project = self.config["project"]
        for concept in project.concepts.values():
            title = SubElement(parent, "h2")
            SubElement(title, "a", {"href": f"{concept.path}.md"}).text = concept.page.title
            rows = table(parent, "law", "statement", "examples", "mistakes")
            entry = self.config["report"].get(concept.path)
            for law in concept.page.laws:
                results = entry["results"] if entry else []
                own = [result for result in results if result["law"] == law.name]
                row = SubElement(rows, "tr")
                SubElement(
                    SubElement(row, "td"), "a", {"href": f"{concept.path}.md#{law.id}"}
                ).text = law.name
                SubElement(row, "td").text = LINK.sub(r"\1", law.statement)
                caught = sum(result["outcome"] == Outcome.CAUGHT for result in own)
                tried = sum(
                    result["examples"] for result in own if result["outcome"] == Outcome.PASSED
                )
                SubElement(row, "td").text = f"{tried} tried"
                SubElement(row, "td").text = f"{caught} caught"
        return SubElement(parent, "div")


class CourseBlock(Block):  # type: ignore[misc]
    """The exercises in order: what each needs and how much there is to write."""

    NAME = "course"
    ARGUMENT = None

    def on_create(self, parent: Element) -> Element:
        """Write a table with a row for each concept."""
        project: Project = self.config["project"]
        body = table(parent, "exercise", "uses", "to write", "lines", "laws", kind="course")
        for concept in project.concepts.values():
            source = concept.module.read_text(encoding="utf-8")
            uses = [
                other.name
                for other in project.concepts.values()
                if other is not concept and re.search(rf"\b{other.import_name}\b", dotted(source))
            ]
            row = SubElement(body, "tr")
            SubElement(
                SubElement(row, "td"), "a", {"href": f"{concept.path}.md"}
            ).text = concept.path
            functions, lines = to_write(source)
            for text in (", ".join(uses) or "–", functions, lines, len(concept.page.laws)):
                SubElement(row, "td").text = str(text)
        return SubElement(parent, "div")


def dotted(source: str) -> str:
    """Return the imports of a module, one full dotted name a line."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
    return "\n".join(names)


def table(parent: Element, *titles: str, kind: str = "laws") -> Element:
    """Open a table and return its body."""
    whole = SubElement(parent, "table", {"class": kind})
    row = SubElement(SubElement(whole, "thead"), "tr")
    for title in titles:
        SubElement(row, "th").text = title
    return SubElement(whole, "tbody")


BLOCKS = (
    LawBlock,
    MistakeBlock,
    NotALawBlock,
    CodeBlock,
    ReferenceBlock,
    HeadBlock,
    LadderBlock,
    LawsBlock,
    ConformanceBlock,
    CourseBlock,
)


class Titles(Treeprocessor):
    """Makes headings of the titles of laws and mistakes, after the table of contents was made."""

    def run(self, root: Element) -> None:
        """Rename them."""
        for element in root.iter("p"):
            if element.get("class") == "bound-title":
                element.tag = "h3"


class LitspecExtension(BlocksExtension):  # type: ignore[misc]
    """The blocks of the project in the current folder."""

    def extendMarkdownBlocks(self, md: Markdown, block_mgr: Any) -> None:  # noqa: N802
        """Register the blocks."""
        project = Project.find(Path.cwd())
        report = reports.read(reports.path(project))
        config = {"project": project, "report": report, "warned": set[str]()}
        for block in BLOCKS:
            block_mgr.register(block, config)
        md.treeprocessors.register(Titles(md), "litspec-titles", 1)  # the table of contents is at 5
        md.preprocessors.register(Heads(md, project), "litspec-heads", 100)


def makeExtension(**settings: Any) -> LitspecExtension:  # noqa: N802
    """Return the extension, as Python-Markdown asks for it."""
    return LitspecExtension(**settings)
