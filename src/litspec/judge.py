"""Judging a reader's own code: run a concept's laws on it, and say which mistake it resembles."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from types import ModuleType

import pytest

from litspec.diagnosis import closest
from litspec.exercise import unwritten
from litspec.implementations import Implementation, open_module
from litspec.modes import Mode, in_memory
from litspec.outcomes import Kind, Outcome
from litspec.pages import Concept, LawKind, Mistake, Project
from litspec.report import Result

SECONDS = 20.0  # time limit of a law
SINGLE = 1e-4  # differences below may come from float32's 7 digits
SHOWN = 3  # broken laws told at length
# As pytest runs the laws on code that was not written here: nothing of the book's own suite.
PLAIN = ("--override-ini=addopts=--import-mode=importlib", "--override-ini=filterwarnings=")
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
        project: The book.
        concept: The concept.
        results: One for each law, in the page's order.
        likely: Mistakes that break the same laws on the same examples, the one that explains most
            first, each with how alike it is, from 0 to 1.
        unwritten: Functions of an exercise whose body is still to write.
    """

    project: Project
    concept: Concept
    results: tuple[Result, ...]
    likely: tuple[tuple[Mistake, float], ...] = ()
    unwritten: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(tell(self))

    def _repr_html_(self) -> str:
        """Return the verdict as a notebook shows it."""
        return f"<pre>{escape(str(self))}</pre>"

    @property
    def in_order(self) -> list[Result]:
        """All results: of mathematics first, then of conventions, measurements and robustness."""
        kinds = {law.name: list(LawKind).index(law.kind) for law in self.concept.page.laws}
        return sorted(self.results, key=lambda result: kinds[result["law"]])

    @property
    def broken(self) -> list[Result]:
        """The laws that fell, mathematics first."""
        fell = (Outcome.FAILED, Outcome.CRASHED)
        return [result for result in self.in_order if result["outcome"] in fell]

    @property
    def tally(self) -> dict[LawKind, tuple[int, int]]:
        """How many laws of each kind held, and how many there are."""
        outcomes = {result["law"]: result["outcome"] for result in self.results}
        found = {}
        for kind in LawKind:
            own = [law.name for law in self.concept.page.laws if law.kind is kind]
            if own:
                passed = sum(outcomes[law] == Outcome.PASSED for law in own)
                found[kind] = (passed, len(own))
        return found

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
    options = (*PLAIN, *options)
    pairs = [f"--yours={path}={target}" for path, target in targets.items()]
    seen = run(
        project, concepts, *pairs, *["--explain"] * explain, *options, f"--law-seconds={seconds}"
    )
    found = []
    for concept in concepts:
        one = verdict(project, concept, seen.get(concept.path, ()), explain=explain)
        file = Path(targets[concept.path])
        left = unwritten(file.read_text(encoding="utf-8")) if file.is_file() else ()
        found.append(replace(one, unwritten=tuple(left)))
    return found


def verdict(
    project: Project, concept: Concept, seen: Iterable[Result], *, explain: bool
) -> Verdict:
    """Return what results say of a reader's code."""
    seen = list(seen)
    by_law = {result["law"]: result for result in seen if result["implementation"] == "yours"}
    unseen = Result(kind=Kind.YOURS, implementation="yours", outcome=Outcome.NOT_RUN)
    results = tuple(by_law.get(law.name, {**unseen, "law": law.name}) for law in concept.page.laws)
    likely = closest(concept, seen) if explain else ()
    return Verdict(project, concept, results, tuple(likely))


class InMemory:
    """A plugin for pytest that puts an object on trial which no file holds."""

    def __init__(self, mode: Mode) -> None:
        self.litspec_mode = mode


def judge_object(
    project: Project,
    concept: Concept,
    module: ModuleType,
    *options: str,
    seconds: float = SECONDS,
    explain: bool = True,
) -> Verdict:
    """Return what the laws say of a module in memory, from this very process.

    Args:
        project: The book.
        concept: The concept.
        module: Holds what the concept's page names.
        options: More options for pytest.
        seconds: Time limit of each law.
        explain: Whether to look for the mistake that the code resembles.
    """
    one = Implementation(Kind.YOURS, "yours", open_module(module))
    run_here = InMemory(in_memory(one, explain=explain))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "seen.json"
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            pytest.main(
                [
                    str(concept.law_file),
                    f"--rootdir={project.root}",
                    f"--config-file={project.root / 'pyproject.toml'}",
                    *PLAIN,
                    "-p",
                    "no:cacheprovider",
                    f"--laws-report={report}",
                    f"--law-seconds={seconds}",
                    *options,
                ],
                plugins=[run_here],
            )
        if not report.exists():
            lines = [line for line in said.getvalue().splitlines() if line.strip()]
            raise ValueError("the laws did not run: " + " | ".join(lines[-3:]))
        seen: dict[str, list[Result]] = json.loads(report.read_text(encoding="utf-8"))["results"]
    return verdict(project, concept, seen.get(concept.path, ()), explain=explain)


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


def _offered(result: Result) -> str:
    """Return what the code does not offer of what a law asks for, if anything."""
    lacks = result.get("lacks", {})
    if result["outcome"] == Outcome.NOT_OFFERED and not lacks:
        lacks = {result.get("error", "").partition(": ")[2]: 1}
    names = ", ".join(name for name in lacks if name)
    said = f"not offered: {names}" if names else ""
    if result["outcome"] == Outcome.NOT_OFFERED or not lacks:
        return said
    held, passed_over = result["examples"], sum(lacks.values())
    return f"on {held} of {held + passed_over} examples; {said or 'the others are not offered'}"


TITLES = {
    LawKind.MATHEMATICS: "mathematics",
    LawKind.CONVENTION: "conventions",
    LawKind.MEASUREMENT: "measurements",
    LawKind.ROBUSTNESS: "bad input and devices",
}


def tell(verdict: Verdict) -> Iterator[str]:
    """Yield a verdict in lines: what holds, what is to do, what broke and what that resembles."""
    project, concept = verdict.project, verdict.concept
    laws = {law.name: law for law in concept.page.laws}
    yield f"{concept.path}: {verdict.passed} of {len(verdict.results)} laws hold"
    if problem := next((one["load"] for one in verdict.results if "load" in one), None):
        yield f"  {problem}"
        return
    yield "  " + ", ".join(
        f"{TITLES[kind]} {passed} of {count}" for kind, (passed, count) in verdict.tally.items()
    )
    for result in verdict.in_order:
        outcome = Outcome(result["outcome"])
        yield f"  {WORDS.get(outcome, outcome):7} {result['law']:32} {_offered(result)}".rstrip()
    if verdict.unwritten:
        names = ", ".join(verdict.unwritten)
        yield f"\nStill to write: {names}. No law that holds speaks of that."
    if not verdict.broken:
        return
    yield ""
    names = ", ".join(result["law"] for result in verdict.broken)
    yield f"Your code breaks {names}" + (" and keeps the rest." if verdict.passed else ".")
    largest = [result.get("largest") for result in verdict.broken]
    if largest and all(one is not None and one < SINGLE for one in largest):
        yield (
            "All differences are small: does the code compute in float32? Then judge it in "
            "float32, with --dtype float32."
        )
    if any(result["outcome"] == Outcome.CRASHED for result in verdict.broken):
        yield (
            "CRASHED laws never came to their question: your code has other names, arguments or "
            "axes than the page. Look at these first."
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
        yield f"\nThese come first; {len(verdict.broken) - SHOWN} more broken laws come after."
