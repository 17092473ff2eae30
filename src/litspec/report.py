"""The report: what the suite saw, bound by fingerprints to the files it saw it in."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from litspec.implementations import peer_files
from litspec.outcomes import Kind, Outcome
from litspec.pages import Concept, Project
from litspec.sources import closure


class Result(TypedDict, total=False):
    """One trial, as it is written down.

    `kind` and `outcome` are values of `Kind` and `Outcome`. `expected` and `got` are what the law
    compared last, in a few numbers or words, where a mistake was caught. `reason` is why a peer
    deviates, `largest` the largest difference between numbers that a failing example showed, and
    `load` why the implementation could not even be imported. `falls` tell how each example fell,
    as the fields of `Fall`, or null where it held. `lacks` counts examples that were passed over,
    by what they ask for and the code does not offer; `passed` are their marks, where code is
    explained.
    """

    law: str
    kind: str
    implementation: str
    outcome: str
    examples: int
    seconds: float
    counterexample: str
    error: str
    expected: str
    got: str
    reason: str
    largest: float
    load: str
    falls: list[list[Any] | None]
    lacks: dict[str, int]
    passed: list[str]


class Entry(TypedDict):
    """All results of a concept, and the files they were seen in."""

    fingerprints: dict[str, str]
    results: list[Result]


Report = dict[str, Entry]


def fingerprints(project: Project, concept: Concept) -> dict[str, str]:
    """Return a short hash of all that a run of the laws depends on, by what it is.

    `page` are its laws and mistakes and what is said of them, wherever on the page they stand;
    `imports` are the package's files that the module imports, through others too; `helpers` are
    the files that the law file imports or that pytest puts beside it; `adapter:NAME` are a peer's.
    """
    laws_stated = [repr(replace(law, line=0)) for law in concept.page.laws]
    mistakes = [repr(replace(mistake, line=0)) for mistake in concept.page.mistakes]
    stated = sorted(laws_stated + mistakes)
    module, laws = closure(project, concept.module), closure(project, concept.law_file)
    folders = [one for one in concept.law_file.parents if one.is_relative_to(project.tests)]
    beside = {one / "conftest.py" for one in folders}
    files: dict[str, Iterable[Path]] = {
        "module": [concept.module],
        "laws": [concept.law_file],
        "imports": module - {concept.module},
        "helpers": (laws | beside) - module - {concept.law_file},
    }
    for name, adapter in peer_files(project, concept).items():
        files[f"adapter:{name}"] = closure(project, adapter) - module
    return {"page": _mark("".join(stated).encode())} | {
        kind: _mark(b"\0".join(_content(project, one) for one in sorted(those) if one.exists()))
        for kind, those in files.items()
    }


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _content(project: Project, file: Path) -> bytes:
    return file.relative_to(project.root).as_posix().encode() + b"\0" + file.read_bytes()


def path(project: Project) -> Path:
    """Return where the report lies unless told otherwise."""
    return project.root / "build" / "laws.json"


def peers_path(project: Project) -> Path:
    """Return where the record of the peers lies: with the book, since their runs are rare."""
    return project.docs / "assets" / "peers.json"


def read(file: Path) -> Report:
    """Return a report; one that is absent or unreadable is an empty one, and so is stale."""
    try:
        report: Report = json.loads(file.read_text(encoding="utf-8"))["concepts"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return report


def update(file: Path, project: Project, results: dict[str, list[Result]]) -> None:
    """Join a run's results to the report; those seen in files that changed since are dropped."""
    old = read(file)
    report: Report = {}
    for concept in project.concepts.values():
        current, seen = fingerprints(project, concept), results.get(concept.path, [])
        before = old.get(concept.path)
        kept = _still_true(before, current) if before else []
        joined = {(result["law"], result["implementation"]): result for result in [*kept, *seen]}
        if joined:
            report[concept.path] = {"fingerprints": current, "results": list(joined.values())}
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(json.dumps({"concepts": report}, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)  # a reader never meets half a report


def _still_true(before: Entry, current: dict[str, str]) -> list[Result]:
    """Return the results that were seen in the files as they are now."""
    marks = before["fingerprints"]
    if _changed(marks, current):
        return []
    adapters = {kind for kind in current if current[kind] == marks.get(kind)}
    return [
        result
        for result in before["results"]
        if result["kind"] != Kind.PEER or f"adapter:{result['implementation']}" in adapters
    ]


def _changed(marks: dict[str, str], current: dict[str, str]) -> list[str]:
    """Return which kinds of files changed, apart from the peers' adapters."""
    return [
        kind
        for kind, mark in current.items()
        if not kind.startswith("adapter:") and marks.get(kind) != mark
    ]


def expected(concept: Concept) -> list[tuple[str, str]]:
    """Return every pair of law and implementation that a complete report holds."""
    return [(law.name, "reference") for law in concept.page.laws] + [
        (law.partition(".")[2], f"mistake:{mistake.name}")
        for mistake in concept.page.mistakes
        for law in mistake.caught_by
    ]


def stale(project: Project, concept: Concept, report: Report) -> str:
    """Return why the report does not speak for the concept as it is, or an empty string."""
    entry = report.get(concept.path)
    if entry is None:
        return "its laws have not been run"
    if changed := _changed(entry["fingerprints"], fingerprints(project, concept)):
        return f"its {changed[0]} changed since its laws were run"
    outcomes = {
        (result["law"], result["implementation"]): Outcome(result["outcome"])
        for result in entry["results"]
    }
    for law, implementation in expected(concept):
        outcome = outcomes.get((law, implementation), Outcome.NOT_RUN)
        if not outcome.good:
            return f"{concept.name}.{law} on {implementation}: {outcome}"
    return ""


def stale_peers(project: Project, concept: Concept, report: Report) -> str:
    """Return why the record of the peers does not speak for a concept as it is, or nothing.

    The page is no reason: no mistake is made in a peer, and a law is what its property asks.
    """
    entry = report.get(concept.path)
    current = fingerprints(project, concept)
    adapters = {kind for kind in current if kind.startswith("adapter:")}
    if entry is None:
        return "its laws have not been run on peers" if adapters else ""
    marks = entry["fingerprints"]
    for kind in ("laws", "helpers", *sorted(adapters)):
        if marks.get(kind) != current[kind]:
            return f"its {kind} changed since its laws were run on peers"
    return ""
