"""The site's blocks, as a Markdown extension: `/// law`, `/// mistake` and the table `/// laws`.

What they show comes from the law files and from the report of the laws. Where the report does not
speak for a page as it stands, a warning says so, which fails a strict build.
"""

import logging
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
from litspec.pages import Concept, Project
from litspec.report import Report, Result

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
        warned: set[str] = self.config["warned"]
        if (why := reports.stale(concept, report)) and concept.path not in warned:
            warned.add(concept.path)
            log.warning("%s: %s: run the laws again", concept.path, why)
        return report[concept.path]["results"] if concept.path in report else []

    def html(self, parent: Element, html: str) -> None:
        """Put finished HTML into the page."""
        SubElement(parent, "div").text = self.md.htmlStash.store(html)


class LawBlock(Bound):
    """A law: its statement, who passed it, and its property folded."""

    NAME = "law"

    def on_end(self, block: Element) -> None:
        """Add what the suite saw and the property's source."""
        concept = self.concept
        law = concept and next((one for one in concept.page.laws if one.id == self.argument), None)
        if not concept or not law:
            log.warning("law %s belongs to no concept", self.argument)
            return
        seen = [
            (result["implementation"], result["outcome"], result["examples"])
            for result in self.results(concept)
            if result["law"] == law.name and not result["implementation"].startswith("mistake:")
        ]
        words = [
            f"{'holds' if outcome == 'passed' else outcome} for {escape(name)}, {count} "
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
        implementation = f"mistake:{self.argument.partition('.')[2]}"
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
            rows = SubElement(SubElement(parent, "table", {"class": "laws"}), "tbody")
            entry = self.config["report"].get(concept.path)
            for law in concept.page.laws:
                results = entry["results"] if entry else []
                own = [result for result in results if result["law"] == law.name]
                row = SubElement(rows, "tr")
                SubElement(
                    SubElement(row, "td"), "a", {"href": f"{concept.path}.md#{law.id}"}
                ).text = law.name
                SubElement(row, "td").text = law.statement
                caught = sum(result["outcome"] == "caught" for result in own)
                tried = sum(result["examples"] for result in own if result["outcome"] == "passed")
                SubElement(row, "td").text = f"{tried} tried"
                SubElement(row, "td").text = f"{caught} caught"
        return SubElement(parent, "div")


class LitspecExtension(BlocksExtension):  # type: ignore[misc]
    """The blocks of the project in the current folder."""

    def extendMarkdownBlocks(self, md: Markdown, block_mgr: Any) -> None:  # noqa: N802
        """Register the blocks."""
        project = Project.find(Path.cwd())
        report = reports.read(reports.path(project))
        config = {"project": project, "report": report, "warned": set[str]()}
        for block in (LawBlock, MistakeBlock, LawsBlock):
            block_mgr.register(block, config)


def makeExtension(**settings: Any) -> LitspecExtension:  # noqa: N802
    """Return the extension, as Python-Markdown asks for it."""
    return LitspecExtension(**settings)
