"""What is wrong between pages, modules and law files: every finding, at once."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from litspec import patches
from litspec.code import read_code
from litspec.implementations import deviations
from litspec.pages import (
    TODO,
    Concept,
    Finding,
    LawKind,
    Mistake,
    Project,
    near,
    not_utf8,
    read_page,
    read_text,
)

PAGE_LINK = re.compile(r"\]\(([^)#\s:]+\.md)")
REPORTED = re.compile(r"(?:(?!: ).)*https?://\S*[\w/]")  # an option of a block is YAML
# What does not count as words of a sentence: code, formulas, the addresses of links.
ASIDE = re.compile(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)")
END = re.compile(r"[.!?](?=\s+[A-Z`$x\[])|[.!?]$")


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
    own = {concept.page.file for concept in project.concepts.values()}
    for page in sorted({*project.docs.rglob("*.md")} - own):
        findings += read_page(page).findings
    return [*findings, *_order(project), *_navigation(project), *_peers(project)]


def _navigation(project: Project) -> Iterator[Finding]:
    """Yield entries of the navigation that lead nowhere, or a second time to the same page."""
    pages = [page.relative_to(project.docs).as_posix() for page in project.docs.rglob("*.md")]
    seen: dict[str, int] = {}
    for page, line in project.entries:
        if page in seen:
            message = f"{page} is in the navigation already, in line {seen[page]}: remove one"
            yield Finding(project.navigation, line, message)
        elif page not in pages:
            hint = near(page, pages) or ": write the page, or remove the entry"
            yield Finding(project.navigation, line, f"there is no page {page}{hint}")
        seen.setdefault(page, line)


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
    for number, line in enumerate(read_text(file).splitlines(), start=1):
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
    lines = read_text(file).splitlines()
    return next((at for at, line in enumerate(lines, start=1) if line.startswith(begin)), 1)


def _peers(project: Project) -> Iterator[Finding]:
    """Yield adapters that stand for no concept, and deviations from laws that are not there."""
    for file in sorted((project.tests / "peers").glob("[!_.]*/**/[!_]*.py")):
        path = file.relative_to(project.tests / "peers").with_suffix("").as_posix()
        path = path.partition("/")[2]
        concept = project.concepts.get(path)
        if concept is None:
            hint = near(path, project.concepts) or ": move or remove it"
            yield Finding(file, 1, f"this adapter is named like no concept{hint}")
            continue
        if unread := _unread(file):
            yield from unread
            continue
        try:
            declared = deviations(file)
        except ValueError as error:
            yield Finding(file, 1, str(error).replace(str(file), project.relative(file)))
            continue
        laws = [law.name for law in concept.page.laws]
        for name in declared.keys() - set(laws):
            page = project.relative(concept.page.file)
            yield Finding(file, 1, f"DEVIATIONS names {name}, which {page} lacks{near(name, laws)}")


def _unread(file: Path) -> list[Finding]:
    """Return why a Python file cannot be read, as a finding, if it cannot."""
    if found := not_utf8(file):
        return found
    try:
        ast.parse(read_text(file))
    except SyntaxError as error:
        return [Finding(file, error.lineno or 1, f"this is no Python: {error.msg}")]
    return []


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
    unread = {file: _unread(file) for file in (concept.module, concept.law_file)}
    for found in unread.values():
        yield from found
    yield from _laws(project, concept, readable=not unread[concept.law_file])
    yield from _mistakes(project, concept, readable=not unread[concept.module])
    yield from _shown(project, concept)
    for file in concept.files.values():
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if todo := TODO.search(line):
                yield Finding(file, number, f"still to do: {todo[0]}")


def _laws(project: Project, concept: Concept, *, readable: bool) -> Iterator[Finding]:
    page = concept.page.file
    if not concept.page.laws:
        yield Finding(page, 1, f"the page states no law: write /// law | {concept.name}.…")
    for law in concept.page.laws:
        for wrong in _id(concept, "law", law.id):
            yield Finding(page, law.line, wrong)
        if wrong := _sentence(law.statement):
            yield Finding(page, law.line, f"law {law.id} {wrong}: state it in one sentence")
        if readable and law.property not in concept.properties:
            signature = f"{law.property}({concept.name}, …)"
            where = project.relative(concept.law_file)
            message = f"law {law.id} has no property: write {signature} in {where}"
            yield Finding(page, law.line, message)
        if not any(law.id in mistake.caught_by for mistake in concept.page.mistakes):
            yield Finding(
                page, law.line, f"no mistake is caught by {law.id}: add one that only it rejects"
            )
    yield from _duplicates(concept, "law", [(law.id, law.line) for law in concept.page.laws])
    yield from _properties(project, concept)


def _properties(project: Project, concept: Concept) -> Iterator[Finding]:
    """Yield what is wrong with the test functions of a law file."""
    law_file = concept.law_file
    stated = {law.property: law for law in concept.page.laws}
    for key, property in concept.properties.items():
        if key != property.name:
            yield Finding(law_file, property.line, f"a second {property.name}: rename it")
        elif property.name not in stated:
            id = f"{concept.name}.{property.name.removeprefix('test_').replace('_', '-')}"
            where = project.relative(concept.page.file)
            message = f"{property.name} proves no law: state {id} on {where}"
            yield Finding(law_file, property.line, message)
        elif stated[property.name].kind is LawKind.MATHEMATICS and not property.given:
            message = (
                f"{property.name} draws nothing, and its law speaks of every input: decorate it "
                "with @given, or say on the page of which kind: the law is"
            )
            yield Finding(law_file, property.line, message)
        if concept.name not in property.arguments:
            yield Finding(
                law_file, property.line, f"{property.name} must take {concept.name} as an argument"
            )


def _id(concept: Concept, kind: str, id: str) -> Iterator[str]:
    """Yield what is wrong with the id of a law or a mistake."""
    head, dot, name = id.rpartition(".")
    proper = f"{concept.name}.{name.lower().replace('_', '-')}" if name else f"{concept.name}.…"
    if head != concept.name or not dot or not name or "." in head:
        yield f"{kind} {id}: name it {proper}"
    elif "_" in name or name != name.lower():
        yield f"{kind} {id}: ids have lower case and hyphens, name it {proper}"


def _sentence(statement: str) -> str:
    """Return what keeps a statement from being one sentence, or an empty text."""
    if not statement:
        return "says nothing"
    ends = len(END.findall(ASIDE.sub("x", statement)))
    if ends > 1:
        return f"is {ends} sentences"
    return "" if ends else "ends without a full stop"


def _mistakes(project: Project, concept: Concept, *, readable: bool) -> Iterator[Finding]:
    page = concept.page.file
    laws = {law.id for law in concept.page.laws}
    source = read_text(concept.module)
    for mistake in concept.page.mistakes:
        here = f"mistake {mistake.id}"
        for wrong in _id(concept, "mistake", mistake.id):
            yield Finding(page, mistake.line, wrong)
        if not mistake.caught_by:
            yield Finding(page, mistake.line, f"{here} names no law: write caught-by: and a law")
        for id in mistake.caught_by:
            if id not in laws:
                yield Finding(
                    page, mistake.line, f"{here} names {id}: not stated here{near(id, laws)}"
                )
        if mistake.reported and not REPORTED.fullmatch(mistake.reported):
            yield Finding(page, mistake.line, f"{here} was reported: end with a link, no colon")
        if not mistake.story:
            yield Finding(page, mistake.line, f"{here} tells nothing: say how it shows")
        try:
            changed = mistake.apply(source)
        except ValueError as error:
            where = project.relative(concept.module)
            yield Finding(page, mistake.line, f"{here}: {error} (in {where})")
            continue
        for line, wrong in _changed(source, changed) if readable else ():
            yield Finding(page, _place(mistake, changed, line), f"{here}: {wrong}")
    yield from _duplicates(
        concept, "mistake", [(mistake.id, mistake.line) for mistake in concept.page.mistakes]
    )


def _changed(source: str, changed: str) -> Iterator[tuple[int, str]]:
    """Yield what makes a mistake crash instead of being wrong, with the line in the module."""
    try:
        for name, line, known in patches.mistyped(source, changed):
            hint = f": did you mean {known}?" if known else ""
            yield line, f"nothing defines {name}{hint}"
    except SyntaxError as error:
        yield error.lineno or 1, f"with it the module is no Python: {error.msg}"


def _place(mistake: Mistake, changed: str, line: int) -> int:
    """Return the page's line of what stands in a line of the changed module."""
    lines = changed.splitlines()
    text = lines[min(line, len(lines)) - 1] if lines else ""
    added = mistake.diff.splitlines()
    return mistake.diff_line + added.index(f"+{text}") if f"+{text}" in added else mistake.line


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
                read_code(read_text(by_name[name].module), what)
            except (ValueError, SyntaxError) as error:
                yield Finding(page, block.line, f"code {block.id}: {error}")


def _duplicates(concept: Concept, kind: str, places: list[tuple[str, int]]) -> Iterator[Finding]:
    count = Counter(id for id, _ in places)
    for id, line in places:
        if count[id] > 1:
            yield Finding(concept.page.file, line, f"several {kind}s are named {id}: rename one")
