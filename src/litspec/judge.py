"""Judging a reader's own code: run a concept's laws on it, and say which mistake it resembles."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from litspec import report as reports
from litspec.outcomes import Kind, Outcome
from litspec.pages import Concept, Mistake, Project
from litspec.report import Result

# For each law, how each example went: "." held, a letter says in which way it fell.
Signature = dict[str, str]
GOOD_MATCH = 0.6
SECONDS = 20.0  # time limit of a law
SHOWN = 3  # broken laws told at length
WORDS = {
    Outcome.PASSED: "holds",
    Outcome.NOT_OFFERED: "to do",
    Outcome.FAILED: "BROKEN",
    Outcome.CRASHED: "CRASHED",
}


@dataclass(frozen=True)
class Verdict:
    """What the laws of a concept say of a reader's code.

    Args:
        concept: The concept.
        results: One for each law, in the page's order.
        likely: Mistakes that break the same laws on the same examples, the one that explains most
            first, each with how alike it is, from 0 to 1.
    """

    concept: Concept
    results: tuple[Result, ...]
    likely: tuple[tuple[Mistake, float], ...] = ()

    @property
    def broken(self) -> list[Result]:
        """The laws that fell, first those that never came to their question."""
        return [
            result
            for outcome in (Outcome.CRASHED, Outcome.FAILED)
            for result in self.results
            if result["outcome"] == outcome
        ]

    @property
    def passed(self) -> int:
        """How many laws held."""
        return sum(result["outcome"] == Outcome.PASSED for result in self.results)


def run(project: Project, concepts: Iterable[Concept], *options: str) -> dict[str, list[Result]]:
    """Run the laws of some concepts in a process of their own; return what they saw, by concept.

    Raises:
        ValueError: If pytest did not come to its end.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "seen.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        files = [str(concept.law_file) for concept in concepts if concept.law_file.exists()]
        ended = subprocess.run(
            [*command, *files, *options, f"--laws-report={report}"],
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if not report.exists():
            lines = [line for line in ended.stdout.splitlines() if line.strip()]
            raise ValueError("the laws did not run: " + " | ".join(lines[-3:]))
        seen: dict[str, list[Result]] = json.loads(report.read_text(encoding="utf-8"))["results"]
        return seen


def judge(
    project: Project,
    targets: Mapping[str, str],
    *options: str,
    seconds: float = SECONDS,
    explain: bool = True,
) -> list[Verdict]:
    """Return what the laws say of a reader's code.

    Args:
        project: The book.
        targets: A file or importable module for each concept's path.
        options: More options for pytest.
        seconds: Time limit of each law.
        explain: Whether to look for the mistake that the code resembles.
    """
    concepts = [project.concepts[path] for path in targets]
    pairs = [f"--yours={path}={target}" for path, target in targets.items()]
    seen = run(project, concepts, *pairs, *options, f"--law-seconds={seconds}")
    verdicts = []
    for concept in concepts:
        by_law = {result["law"]: result for result in seen.get(concept.path, [])}
        unseen = Result(kind=Kind.YOURS, implementation="yours", outcome=Outcome.NOT_RUN)
        results = tuple(
            by_law.get(law.name, {**unseen, "law": law.name}) for law in concept.page.laws
        )
        verdict = Verdict(concept, results)
        if explain and verdict.broken:
            yours = f"--yours={concept.path}={targets[concept.path]}"
            mine = run(project, [concept], "--signatures", yours, f"--law-seconds={seconds}")
            signature = by_implementation(mine.get(concept.path, [])).get("yours", {})
            verdict = Verdict(concept, results, tuple(closest(project, concept, signature)))
        verdicts.append(verdict)
    return verdicts


def by_implementation(results: Iterable[Result]) -> dict[str, Signature]:
    """Return the signature of each implementation that a run judged."""
    found: dict[str, Signature] = {}
    for result in results:
        if "letters" in result:
            found.setdefault(result["implementation"], {})[result["law"]] = result["letters"]
    return found


def closest(
    project: Project, concept: Concept, signature: Signature
) -> list[tuple[Mistake, float]]:
    """Return the mistakes that explain a signature, the one that explains most first.

    Code may have several faults: what the first mistake leaves unexplained is compared again.
    """
    known = signatures(project, concept)
    left = {law: seen for law, seen in signature.items() if "?" not in seen}
    named: list[tuple[Mistake, float]] = []
    while any(seen.strip(".") for seen in left.values()):
        scores = {
            mistake: likeness(left, {law: theirs[law] for law in left if law in theirs})
            for mistake in concept.page.mistakes
            if (theirs := known.get(f"mistake:{mistake.name}"))
        }
        best = max(scores, key=lambda mistake: scores[mistake], default=None)
        if best is None or scores[best] < GOOD_MATCH:
            break
        named.append((best, scores[best]))
        theirs = known[f"mistake:{best.name}"]
        left = {law: seen for law, seen in left.items() if not theirs.get(law, "").strip(".")}
    return named


def likeness(one: Signature, other: Signature) -> float:
    """Return how much two signatures agree: of the examples either fell on, the share both did.

    An example on which both fell, but in different ways, counts half. Each law weighs the same,
    so that one with many examples does not drown the others.

    Examples:
        >>> likeness({"a": "..f", "b": "..."}, {"a": "..f", "b": "..."})
        1.0
        >>> likeness({"a": "..f", "b": "..."}, {"a": "..g", "b": "fff"})
        0.25
    """
    shares = []
    for law in one.keys() | other.keys():
        mine, theirs = one.get(law, ""), other.get(law, "")
        width = max(len(mine), len(theirs))
        pairs = list(zip(mine.ljust(width, "."), theirs.ljust(width, "."), strict=True))
        either = [pair for pair in pairs if pair != (".", ".")]
        if either:
            agreed = sum(1 if a == b else 0.5 * ("." not in (a, b)) for a, b in either)
            shares.append(agreed / len(either))
    return sum(shares) / len(shares) if shares else 0.0


def signatures(project: Project, concept: Concept) -> dict[str, Signature]:
    """Return the signature of each mistake of a concept, kept until one of its files changes."""
    file = project.root / "build" / "signatures" / f"{concept.name}.json"
    marks = {
        kind: mark
        for kind, mark in reports.fingerprints(project, concept).items()
        if not kind.startswith("adapter:")
    }
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["fingerprints"] == marks:
            known: dict[str, Signature] = kept["signatures"]
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass
    seen = run(project, [concept], "--signatures", f"--law-seconds={SECONDS}")
    found = by_implementation(seen.get(concept.path, []))
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"fingerprints": marks, "signatures": found}, indent=1)
    file.write_text(content + "\n", encoding="utf-8")
    return found


def targets(project: Project, path: str | None, target: str) -> dict[str, str]:
    """Return which file answers which concept.

    Args:
        project: The book.
        path: The concept that a file or module is, or None if its own path says so.
        target: A file, a folder or an importable module.

    Raises:
        ValueError: If there is no such concept or file.
    """
    place = Path(target).resolve()
    if path is not None and path not in project.concepts:
        raise ValueError(f"there is no concept {path!r}: see litspec list")
    if place.is_dir():
        files = {one: place / f"{one}.py" for one in ([path] if path else project.concepts)}
        found = {one: str(file) for one, file in files.items() if file.exists()}
        if not found:
            raise ValueError(f"{target} holds no file that is named like a concept")
        return found
    if target.endswith(".py") and not place.exists():
        raise ValueError(f"there is no file {target}: start one with litspec exercise")
    if path is None:
        name = place.with_suffix("").as_posix()
        path = next((one for one in project.concepts if name.endswith(f"/{one}")), None)
    if path is None:
        raise ValueError(f"which concept is {target}? Say it first: attention/causal {target}")
    return {path: str(place) if place.exists() else target}


def tell(project: Project, verdict: Verdict) -> Iterator[str]:
    """Yield a verdict in lines: what holds, what is to do, what broke and what that resembles."""
    concept = verdict.concept
    laws = {law.name: law for law in concept.page.laws}
    yield f"{concept.path}: {verdict.passed} of {len(verdict.results)} laws hold"
    if problem := next((one["load"] for one in verdict.results if "load" in one), None):
        yield f"  {problem}"
        return
    for result in verdict.results:
        outcome = Outcome(result["outcome"])
        missing = result.get("error", "") if outcome is Outcome.NOT_OFFERED else ""
        yield f"  {WORDS.get(outcome, outcome):7} {result['law']:32} {missing}".rstrip()
    if not verdict.broken:
        return
    yield ""
    names = ", ".join(result["law"] for result in verdict.broken)
    yield f"Your code breaks {names}" + (" and keeps the rest." if verdict.passed else ".")
    if verdict.broken[0]["outcome"] == Outcome.CRASHED:
        yield (
            "CRASHED laws never came to their question: your code has other names, arguments or "
            "axes than the page. Mend these first."
        )
    for also, (mistake, score) in zip(("So", "And so"), verdict.likely, strict=False):
        page = concept.page.file.relative_to(project.root)
        yield f"{also} does this mistake ({score:.0%} alike): {mistake.id}, {page}:{mistake.line}"
        yield f"  {mistake.story}"
    for result in verdict.broken[:SHOWN]:
        law = laws[result["law"]]
        yield ""
        yield f"{law.id}: {law.statement}"
        for title, text in (
            ("for", result.get("counterexample", "")),
            ("got", result.get("error", "")),
        ):
            lines = [line for line in text.splitlines() if line.strip()]
            yield from (f"  {title if at == 0 else '':4} {line}" for at, line in enumerate(lines))
        yield f"  see  {concept.page.file.relative_to(project.root)}:{law.line}"
    if len(verdict.broken) > SHOWN:
        yield f"\nMend these first; {len(verdict.broken) - SHOWN} more broken laws come after."
