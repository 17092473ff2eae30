"""What is wrong between pages, modules and law files: every finding, at once."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from litspec.code import read_code
from litspec.implementations import deviations
from litspec.pages import TODO, Concept, Finding, Project

PAGE_LINK = re.compile(r"\]\(([^)#\s:]+\.md)")
REPORTED = re.compile(r"(?:(?!: ).)*https?://\S*[\w/]")  # an option of a block is YAML


def check(project: Project) -> list[Finding]:
    """Return all that does not agree; an empty list means every page, law and mistake is bound."""
    names = Counter(concept.name for concept in project.concepts.values())
    findings = [
        Finding(
            concept.page.file, 1, f"several concepts are named {concept.name}: rename all but one"
        )
        for concept in project.concepts.values()
        if names[concept.name] > 1
    ]
    for concept in project.concepts.values():
        findings += check_concept(project, concept)
    return [*findings, *_order(project), *_peers(project)]


def _order(project: Project) -> Iterator[Finding]:
    """Yield pages that need what comes later, or do not say what they need in a drawn book."""
    concepts = {one.name: one for one in project.concepts.values() if one.page.file.exists()}
    order = {page.removesuffix(".md"): place for place, page in enumerate(project.pages)}
    stations = [station["name"] for station in project.pipeline]
    for name, concept in concepts.items():
        file, needs = concept.page.file, concept.page.needs
        if stations and needs is None:
            yield Finding(file, 1, "the page's head does not say what to read first: write needs:")
        for need in needs or ():
            line = _line(file, "needs:")
            if need not in concepts or need == name:
                yield Finding(file, line, f"needs {need}, which is no other concept")
            elif order.get(concepts[need].path, -1) > order.get(concept.path, len(order)):
                yield Finding(
                    file, line, f"needs {need}, which comes later: move one of them in nav"
                )
        for station in set(concept.page.at) - set(stations):
            known = ", ".join(stations) or "none"
            yield Finding(file, _line(file, "at:"), f"at {station}: the pipeline has {known}")
        yield from _ahead(project, file, order)
    titles = Counter(concept.page.title for concept in concepts.values())
    for concept in concepts.values():
        if titles[concept.page.title] > 1:  # a page is known by it when the site is built
            title = concept.page.title
            yield Finding(concept.page.file, 1, f"several pages have the title {title!r}")


def _ahead(project: Project, file: Path, order: dict[str, int]) -> Iterator[Finding]:
    """Yield links to later pages that stand in the story, where a term must be known already."""
    section, here = "", order.get(file.relative_to(project.docs).with_suffix("").as_posix(), 0)
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        if not project.settings.get("ahead") or section in project.settings["ahead"]:
            continue
        for link in PAGE_LINK.findall(line):
            target = (file.parent / link).resolve()
            if target.is_relative_to(project.docs.resolve()):
                page = target.relative_to(project.docs.resolve()).with_suffix("").as_posix()
                if order.get(page, -1) > here and page in project.concepts:
                    where = project.settings["ahead"][0]
                    yield Finding(
                        file, number, f"{page} comes later: link to it below {where}, or move it"
                    )


def _line(file: Path, begin: str) -> int:
    """Return the first line that begins so."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((at for at, line in enumerate(lines, start=1) if line.startswith(begin)), 1)


def _peers(project: Project) -> Iterator[Finding]:
    """Yield adapters that stand for no concept, and deviations from laws that are not there."""
    for file in sorted((project.tests / "peers").glob("[!_.]*/**/[!_]*.py")):
        path = file.relative_to(project.tests / "peers").with_suffix("").as_posix()
        concept = project.concepts.get(path.partition("/")[2])
        if concept is None:
            yield Finding(file, 1, "this adapter is named like no concept: move or remove it")
            continue
        try:
            declared = deviations(file)
        except (ValueError, SyntaxError) as error:
            yield Finding(file, 1, str(error))
            continue
        for name in declared.keys() - {law.name for law in concept.page.laws}:
            yield Finding(file, 1, f"DEVIATIONS names {name}, which {concept.page.file} lacks")


def check_concept(project: Project, concept: Concept) -> Iterator[Finding]:
    """Yield what is wrong with one concept."""
    missing = {kind: file for kind, file in concept.files.items() if not file.exists()}
    for kind, file in missing.items():
        yield Finding(file, 1, f"{concept.path} has no {kind}: write this file")
    if missing:
        return
    if f"{concept.path}.md" not in project.pages:
        yield Finding(
            project.navigation, 1, f"{concept.path}.md is not in the navigation: add it to nav"
        )
    yield from concept.page.findings
    yield from _laws(concept)
    yield from _mistakes(concept)
    yield from _shown(project, concept)
    for file in concept.files.values():
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if todo := TODO.search(line):
                yield Finding(file, number, f"still to do: {todo[0]}")


def _laws(concept: Concept) -> Iterator[Finding]:
    page, law_file = concept.page.file, concept.law_file
    if not concept.page.laws:
        yield Finding(page, 1, f"the page states no law: write /// law | {concept.name}.…")
    for law in concept.page.laws:
        if not law.id.startswith(f"{concept.name}.") or not law.name:
            yield Finding(page, law.line, f"law {law.id}: name it {concept.name}.…")
        if not law.statement:
            yield Finding(page, law.line, f"law {law.id} says nothing: state it in one sentence")
        if law.property not in concept.properties:
            signature = f"{law.property}({concept.name}, …)"
            yield Finding(
                page, law.line, f"law {law.id} has no property: write {signature} in {law_file}"
            )
        if not any(law.id in mistake.caught_by for mistake in concept.page.mistakes):
            yield Finding(
                page, law.line, f"no mistake is caught by {law.id}: add one that only it rejects"
            )
    yield from _duplicates(concept, "law", [(law.id, law.line) for law in concept.page.laws])
    stated = {law.property for law in concept.page.laws}
    for key, property in concept.properties.items():
        if key != property.name:
            yield Finding(law_file, property.line, f"a second {property.name}: rename it")
        elif property.name not in stated:
            id = f"{concept.name}.{property.name.removeprefix('test_').replace('_', '-')}"
            yield Finding(
                law_file, property.line, f"{property.name} proves no law: state {id} on {page}"
            )
        if concept.name not in property.arguments:
            yield Finding(
                law_file, property.line, f"{property.name} must take {concept.name} as an argument"
            )


def _mistakes(concept: Concept) -> Iterator[Finding]:
    page = concept.page.file
    laws = {law.id for law in concept.page.laws}
    source = concept.module.read_text(encoding="utf-8")
    for mistake in concept.page.mistakes:
        here = f"mistake {mistake.id}"
        if not mistake.id.startswith(f"{concept.name}.") or not mistake.name:
            yield Finding(page, mistake.line, f"{here}: name it {concept.name}.…")
        if not mistake.caught_by:
            yield Finding(page, mistake.line, f"{here} names no law: write caught-by: and a law")
        for id in mistake.caught_by:
            if id not in laws:
                yield Finding(page, mistake.line, f"{here} names {id}: not stated here")
        if mistake.reported and not REPORTED.fullmatch(mistake.reported):
            yield Finding(page, mistake.line, f"{here} was reported: end with a link, no colon")
        if not mistake.story:
            yield Finding(page, mistake.line, f"{here} tells nothing: say how it shows")
        try:
            mistake.apply(source)
        except ValueError as error:
            yield Finding(page, mistake.line, f"{here}: {error} (in {concept.module})")
    yield from _duplicates(
        concept, "mistake", [(mistake.id, mistake.line) for mistake in concept.page.mistakes]
    )


def _shown(project: Project, concept: Concept) -> Iterator[Finding]:
    """Yield code that is not there, and beliefs without an example that the suite runs."""
    page = concept.page.file
    by_name = {one.name: one for one in project.concepts.values()}
    for block in concept.page.shown:
        name, _, what = block.id.partition(".")
        if block.kind == "not-a-law":
            if name != concept.name or not what:
                yield Finding(page, block.line, f"{block.id}: name it {concept.name}.…")
            if not re.search(r"^```python\n(?:.*\n)*?>>> ", block.body, re.MULTILINE):
                yield Finding(
                    page, block.line, f"{block.id} proves nothing: add a ```python fence with >>>"
                )
        elif block.body.strip():
            yield Finding(page, block.line, f"code {block.id} is not closed by ///")
        elif name not in by_name or not by_name[name].module.exists():
            yield Finding(page, block.line, f"code {block.id}: no concept is named {name}")
        else:
            try:
                read_code(by_name[name].module.read_text(encoding="utf-8"), what)
            except ValueError as error:
                yield Finding(page, block.line, f"code {block.id}: {error}")


def _duplicates(concept: Concept, kind: str, places: list[tuple[str, int]]) -> Iterator[Finding]:
    count = Counter(id for id, _ in places)
    for id, line in places:
        if count[id] > 1:
            yield Finding(concept.page.file, line, f"several {kind}s are named {id}: rename one")
