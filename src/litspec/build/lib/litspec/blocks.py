"""The site's blocks, as a Markdown extension: `/// law`, `/// mistake`, and tables of all.

What they show comes from the law files and from the report of the laws. Where the report does not
speak for a page as it stands, a warning says so, which fails a strict build.
"""

import ast
import logging
import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pymdownx.blocks import BlocksExtension
from pymdownx.blocks.block import Block, type_string

from litspec import report as reports
from litspec.exercise import to_write
from litspec.outcomes import Kind, Outcome
from litspec.pages import Concept, Law, LawKind, Project
from litspec.report import Report, Result

LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")  # relative to its own page
log = logging.getLogger("mkdocs.litspec")  # a warning of `mkdocs.*` fails a strict build


class Bound(Block):  # type: ignore[misc]
    """A block that belongs to a concept."""

    NAME = ""
    ARGUMENT = True

    def on_create(self, parent: Element) -> Element:
        """Open a section whose anchor is the id, so that every law and mistake has an address."""
        section = SubElement(parent, "section", {"class": self.NAME, "id": self.argument})
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
    OPTIONS = {"kind": ["", type_string]}  # noqa: RUF012 — the base class wants a dict

    def on_create(self, parent: Element) -> Element:
        """Say beside the address what a law is about, where that is not mathematics."""
        section = super().on_create(parent)
        law = self.law
        if law and law.kind is not LawKind.MATHEMATICS:
            SubElement(section[0], "span", {"class": "kind"}).text = law.kind
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
        source = highlight(
            property.source if property else "", PythonLexer(), HtmlFormatter(cssclass="highlight")
        )
        self.html(
            block, f"<details><summary>{'; '.join(words).capitalize()}</summary>{source}</details>"
        )


class MistakeBlock(Bound):
    """A mistake: its diff and story, the laws that caught it and the counterexamples."""

    NAME = "mistake"
    OPTIONS = {"caught-by": ["", type_string]}  # noqa: RUF012 — the base class wants a dict

    def on_end(self, block: Element) -> None:
        """Add which laws caught the mistake, and on what."""
        concept = self.concept
        if not concept:
            log.warning("mistake %s belongs to no concept", self.argument)
            return
        implementation = f"{Kind.MISTAKE}:{self.argument.partition('.')[2]}"
        seen = [one for one in self.results(concept) if one["implementation"] == implementation]
        for result in seen:
            id = f"{concept.name}.{result['law']}"
            shown = [result.get("counterexample", ""), result.get("error", "")]
            text = escape("\n\n".join(part for part in shown if part))
            self.html(
                block,
                f"<details><summary>{escape(result['outcome']).capitalize()} by "
                f'<a href="#{id}">{id}</a></summary><pre class="counterexample">{text}</pre>'
                "</details>",
            )


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


class ConformanceBlock(Block):  # type: ignore[misc]
    """The matrix of laws and peers, from the record of the peers' last run."""

    NAME = "conformance"
    ARGUMENT = None
    SIGNS = {  # noqa: RUF012
        Outcome.PASSED: "✓",
        Outcome.DEVIATES: "≠",
        Outcome.NOT_OFFERED: "·",
        Outcome.FAILED: "✗",
    }

    def on_create(self, parent: Element) -> Element:
        """Write totals by peer, then a table for each concept, deviations told below it."""
        project: Project = self.config["project"]
        record = reports.read(reports.peers_path(project))
        rows = [
            (path, one)
            for path in project.concepts
            if path in record
            for one in record[path]["results"]
        ]
        self.totals(parent, rows)
        for path, concept in project.concepts.items():
            results = [one for where, one in rows if where == path]
            if not results:
                continue
            title = SubElement(parent, "h3")
            SubElement(title, "a", {"href": f"{path}.md"}).text = concept.page.title
            if why := reports.stale_peers(project, concept, record):
                SubElement(parent, "p", {"class": "stale"}).text = f"An older record: {why}."
            self.matrix(parent, concept, results)
        return SubElement(parent, "div")

    def totals(self, parent: Element, rows: list[tuple[str, Result]]) -> None:
        """Write how many concepts and laws each peer was judged by."""
        body = table(parent, "", "concepts", "laws kept", "deviations", "not offered", kind="peers")
        for peer in sorted({one["implementation"] for _, one in rows}):
            own = [(path, one["outcome"]) for path, one in rows if one["implementation"] == peer]
            counts = Counter(outcome for _, outcome in own)
            concepts = len({path for path, _ in own})
            row = SubElement(body, "tr")
            for text in (
                peer, concepts, *(counts[one] for one in list(self.SIGNS)[:3]),
            ):  # fmt: skip
                SubElement(row, "td").text = str(text)

    def matrix(self, parent: Element, concept: Concept, results: list[Result]) -> None:
        """Write one concept's laws by peers, and the reasons of its deviations."""
        peers = sorted({one["implementation"] for one in results})
        cells = {(one["law"], one["implementation"]): one for one in results}
        body = table(parent, "law", *peers, kind="peers")
        for law in concept.page.laws:
            row = SubElement(body, "tr")
            link = SubElement(SubElement(row, "td"), "a", {"href": f"{concept.path}.md#{law.id}"})
            link.text = law.name
            for peer in peers:
                unseen = Result(outcome=Outcome.NOT_OFFERED)
                outcome = Outcome(cells.get((law.name, peer), unseen)["outcome"])
                SubElement(row, "td", {"title": outcome}).text = self.SIGNS.get(outcome, outcome)
        for one in results:
            if one["outcome"] == Outcome.DEVIATES:
                reason = one["reason"]
                if "largest" in one:
                    reason += f"; largest difference seen {one['largest']:.3g}"
                shown = escape(f"{one.get('counterexample', '')}\n\n{one.get('error', '')}".strip())
                html = (
                    f"<details class='deviation'><summary>{escape(one['implementation'])} breaks "
                    f"{escape(one['law'])}: {escape(reason)}</summary>"
                    f"<pre class='counterexample'>{shown}</pre></details>"
                )
                SubElement(parent, "div").text = self.md.htmlStash.store(html)


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


class LitspecExtension(BlocksExtension):  # type: ignore[misc]
    """The blocks of the project in the current folder."""

    def extendMarkdownBlocks(self, md: Markdown, block_mgr: Any) -> None:  # noqa: N802
        """Register the blocks."""
        project = Project.find(Path.cwd())
        report = reports.read(reports.path(project))
        config = {"project": project, "report": report, "warned": set[str]()}
        for block in (LawBlock, MistakeBlock, LawsBlock, ConformanceBlock, CourseBlock):
            block_mgr.register(block, config)


def makeExtension(**settings: Any) -> LitspecExtension:  # noqa: N802
    """Return the extension, as Python-Markdown asks for it."""
    return LitspecExtension(**settings)
