"""What a run of the laws judges, and where it writes down what it saw."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from litspec import implementations, report
from litspec.implementations import Implementation
from litspec.pages import Concept, Law, Project, near


@dataclass(frozen=True)
class Mode:
    """One way to run the laws.

    Args:
        judged: What a law is put to.
        record: Where results are joined to those of other runs; None to write none.
        whole: Whether it judges the book itself, so that its binding is checked and the tests
            that are no laws run too.
        explain: Whether to see how foreign code falls, example by example, and how those mistakes
            do that it may have made.
        foreign: Whether the code was not written for the laws: what it does not offer is passed
            over, and its warnings are no errors.
    """

    judged: Callable[[Concept, Law], Iterator[Implementation]]
    record: Path | None
    whole: bool = False
    explain: bool = False
    foreign: bool = False


def book(project: Project) -> Mode:
    """Judge the reference and every mistake: the suite."""

    def judged(concept: Concept, law: Law) -> Iterator[Implementation]:
        yield implementations.reference(concept)
        yield from implementations.mistakes(concept, law)

    return Mode(judged, report.path(project), whole=True)


def reference() -> Mode:
    """Judge the reference alone, and write down nothing: a quick look, or another type."""
    return Mode(lambda concept, _: iter([implementations.reference(concept)]), None, whole=True)


def peers(project: Project, only: str = "all") -> Mode:
    """Judge other libraries, through the adapters in tests/peers.

    Args:
        project: The book.
        only: One of them, or `all`.

    Raises:
        ValueError: If there is no such peer.
    """
    names = [one.name for one in sorted((project.tests / "peers").glob("[!_.]*/"))]
    if only != "all" and only not in names:
        hint = near(only, names) or f": there are {', '.join(names) or 'none'}"
        raise ValueError(f"there is no peer {only} in tests/peers{hint}")

    def judged(concept: Concept, law: Law) -> Iterator[Implementation]:
        for one in implementations.peers(project, concept, law):
            if only in ("all", one.name):
                yield one

    return Mode(judged, report.peers_path(project), foreign=True)


def yours(pairs: Iterable[str], *, seconds: float, explain: bool) -> Mode:
    """Judge a reader's own code.

    Args:
        pairs: `CONCEPT=FILE`, or an importable module in place of the file.
        seconds: Time limit for loading it.
        explain: As in `Mode`: then every mistake stands by.
    """
    targets: defaultdict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        path, _, target = pair.partition("=")
        targets[path].append(target)
    loaded: dict[str, list[Implementation]] = {}

    def load(concept: Concept) -> Iterator[Implementation]:
        several = len(targets[concept.path]) > 1
        for target in targets[concept.path]:
            name = f"yours:{Path(target).stem}" if several else "yours"
            yield implementations.yours(target, f"{name}.{concept.name}", seconds)
        if explain and targets[concept.path]:
            yield from implementations.mistakes(concept)

    def judged(concept: Concept, _: Law) -> Iterator[Implementation]:
        if concept.path not in loaded:
            loaded[concept.path] = list(load(concept))
        return iter(loaded[concept.path])

    return Mode(judged, None, explain=explain, foreign=True)


def in_memory(one: Implementation, *, explain: bool) -> Mode:
    """Judge code that is there already."""

    def judged(concept: Concept, _: Law) -> Iterator[Implementation]:
        yield one
        if explain:
            yield from implementations.mistakes(concept)

    return Mode(judged, None, explain=explain, foreign=True)
