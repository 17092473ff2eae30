"""The site's page about peers: one matrix of concepts and peers, and a section for each peer."""

from collections import Counter
from html import escape
from xml.etree.ElementTree import Element, SubElement

from pymdownx.blocks.block import Block

from litspec import report as reports
from litspec.outcomes import Outcome
from litspec.pages import Concept, Project
from litspec.report import Result

SIGNS = {
    Outcome.PASSED: "✓",
    Outcome.DEVIATES: "≠",
    Outcome.NOT_OFFERED: "·",
    Outcome.FAILED: "✗",
}


class ConformanceBlock(Block):  # type: ignore[misc]
    """What the last run of the peers saw, from their record."""

    NAME = "conformance"
    ARGUMENT = None

    def on_create(self, parent: Element) -> Element:
        """Write the matrix, the peers' sections, and which concepts have an older record."""
        project: Project = self.config["project"]
        record = reports.read(reports.peers_path(project))
        self.seen = [
            (concept, record[path]["results"])
            for path, concept in project.concepts.items()
            if path in record
        ]
        peers = sorted({one["implementation"] for _, own in self.seen for one in own})
        body = scrolling(parent, "concept", *peers)
        for concept, results in self.seen:
            row = SubElement(body, "tr")
            head = SubElement(row, "th", {"scope": "row"})
            SubElement(head, "a", {"href": f"{concept.path}.md"}).text = concept.page.title
            for peer in peers:
                own = [one for one in results if one["implementation"] == peer]
                count = Counter(Outcome(one["outcome"]) for one in own)
                told = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
                cell = SubElement(row, "td", {"title": f"{peer}: {told}"} if own else {})
                bad = count[Outcome.DEVIATES] + count[Outcome.FAILED]
                cell.text = f"≠ {bad}" if bad else "✓" if count[Outcome.PASSED] else "·" * bool(own)
        for peer in peers:
            self.peer(parent, peer)
        old = [
            f"{concept.page.title}: {why}"
            for concept, _ in self.seen
            if (why := reports.stale_peers(project, concept, record))
        ]
        if old:
            SubElement(parent, "h3").text = "What changed since"
            items = SubElement(parent, "ul")
            for one in old:
                SubElement(items, "li").text = one
        return SubElement(parent, "div")

    def peer(self, parent: Element, peer: str) -> None:
        """Write what one peer keeps, concept by concept, and the reasons of its deviations."""
        SubElement(parent, "h3").text = peer
        results = [
            (concept, one)
            for concept, own in self.seen
            for one in own
            if one["implementation"] == peer
        ]
        count = Counter(Outcome(one["outcome"]) for _, one in results)
        concepts = len({concept.path for concept, _ in results})
        SubElement(parent, "p").text = (
            f"Judged by {concepts} concept{'s' * (concepts != 1)}: {count[Outcome.PASSED]} laws "
            f"kept, {count[Outcome.DEVIATES]} deviations, {count[Outcome.NOT_OFFERED]} not offered."
        )
        for concept, one in results:
            if one["outcome"] == Outcome.DEVIATES:
                self.deviation(parent, concept, one)
        rows = "".join(
            f"<li>{SIGNS.get(Outcome(one['outcome']), one['outcome'])} "
            f"{escape(concept.name)}.{escape(one['law'])}</li>"
            for concept, one in results
        )
        self.html(
            parent,
            f"<details data-search-exclude><summary>All {len(results)} laws</summary>"
            f"<ul class='kept'>{rows}</ul></details>",
        )

    def deviation(self, parent: Element, concept: Concept, one: Result) -> None:
        """Write why a peer breaks a law, and on what."""
        line = SubElement(parent, "p", {"class": "deviation"})
        line.text = "≠ "
        address = f"{concept.path}.md#{concept.name}.{one['law']}"
        link = SubElement(line, "a", {"href": address})
        link.text = f"{concept.name}.{one['law']}"
        reason = one["reason"]
        if "largest" in one:
            reason += f"; largest difference seen {one['largest']:.3g}"
        link.tail = f": {reason}"
        if shown := f"{one.get('counterexample', '')}\n\n{one.get('error', '')}".strip():
            self.html(
                parent,
                "<details data-search-exclude><summary>The smallest example</summary>"
                f"<pre class='counterexample' tabindex='0'>{escape(shown)}</pre></details>",
            )

    def html(self, parent: Element, html: str) -> None:
        """Put finished HTML into the page."""
        SubElement(parent, "div").text = self.md.htmlStash.store(html)


def scrolling(parent: Element, *titles: str) -> Element:
    """Open a wide table that moves in its column, its heads upright; return its body."""
    box = SubElement(parent, "div", {"class": "scroll", "tabindex": "0"})
    whole = SubElement(box, "table", {"class": "peers"})
    row = SubElement(SubElement(whole, "thead"), "tr")
    for title in titles:
        SubElement(SubElement(row, "th", {"scope": "col"}), "span").text = title
    return SubElement(whole, "tbody")
