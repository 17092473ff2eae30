"""The report: what the suite saw, bound by fingerprints to the files it saw it in."""

import hashlib
import json
import os
from pathlib import Path
from typing import TypedDict

from litspec.pages import Concept, Project


class Result(TypedDict, total=False):
    """One law tried on one implementation.

    `outcome` is passed, failed, or crashed (it fell to something other than an assertion); for a
    mistake caught, survived (the law held all the same) or crashed; for a peer also deviates (it
    fails as declared) or not offered, which for a reader's own code means to do. `load` says why
    the implementation could not even be imported.
    """

    law: str
    implementation: str
    outcome: str
    examples: int
    seconds: float
    counterexample: str
    error: str
    load: str


class Entry(TypedDict):
    """All results of a concept, and the files they were seen in."""

    fingerprints: dict[str, str]
    results: list[Result]


Report = dict[str, Entry]


def fingerprints(concept: Concept) -> dict[str, str]:
    """Return a short hash of all that a run of the laws depends on: of the page, not its prose."""
    laws = [law.id for law in concept.page.laws]
    mistakes = [(one.id, one.caught_by, one.diff) for one in concept.page.mistakes]
    content = {"page": repr((laws, mistakes)).encode()} | {
        kind: file.read_bytes()
        for kind, file in (("module", concept.module), ("laws", concept.law_file))
        if file.exists()
    }
    return {kind: hashlib.sha256(text).hexdigest()[:16] for kind, text in content.items()}


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
        current, seen = fingerprints(concept), results.get(concept.path, [])
        stood = old.get(concept.path)
        kept = stood["results"] if stood and stood["fingerprints"] == current else []
        joined = {(result["law"], result["implementation"]): result for result in [*kept, *seen]}
        if joined:
            report[concept.path] = {"fingerprints": current, "results": list(joined.values())}
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(json.dumps({"concepts": report}, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)  # a reader never meets half a report


def expected(concept: Concept) -> list[tuple[str, str]]:
    """Return every pair of law and implementation that a complete report holds."""
    return [(law.name, "reference") for law in concept.page.laws] + [
        (law.partition(".")[2], f"mistake:{mistake.name}")
        for mistake in concept.page.mistakes
        for law in mistake.caught_by
    ]


def stale(concept: Concept, report: Report) -> str:
    """Return why the report does not speak for the concept as it stands, or an empty string."""
    entry = report.get(concept.path)
    if entry is None:
        return "its laws have not been run"
    for kind, mark in fingerprints(concept).items():
        if entry["fingerprints"].get(kind) != mark:
            return f"its {kind} changed since its laws were run"
    outcomes = {
        (result["law"], result["implementation"]): result["outcome"] for result in entry["results"]
    }
    for law, implementation in expected(concept):
        outcome = outcomes.get((law, implementation), "not run")
        if outcome not in {"passed", "caught"}:
            return f"{concept.name}.{law} on {implementation}: {outcome}"
    return ""
