"""What a run of the laws judges, and where it writes down what it saw."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from litspec import implementations, report
from litspec.examples import Watch
from litspec.implementations import Implementation
from litspec.pages import Concept, Law, Project


@dataclass(frozen=True)
class Mode:
    """One way to run the laws.

    Args:
        judged: What a law is put to.
        record: Where results are joined to those of other runs; None to write none.
        whole: Whether it judges the book itself, so that its binding is checked and the tests
            that are no laws run too.
        go_on: Whether to try further examples where one fell, to see how code falls.
        pass_over: Whether examples that an implementation does not offer are passed over.
    """

    judged: Callable[[Concept, Law], Iterator[Implementation]]
    record: Path | None
    whole: bool = False
    go_on: bool = False
    pass_over: bool = False

    def watch(self) -> Watch:
        """Return what notes the examples of a trial."""
        return Watch(go_on=self.go_on, pass_over=self.pass_over)


def book(project: Project) -> Mode:
    """Judge the reference and every mistake: the suite."""

    def judged(concept: Concept, law: Law) -> Iterator[Implementation]:
        yield implementations.reference(concept)
        yield from implementations.mistakes(concept, law)

    return Mode(judged, report.path(project), whole=True)


def reference() -> Mode:
    """Judge the reference alone, and write down nothing: a quick look, or another type."""
    return Mode(lambda concept, _: iter([implementations.reference(concept)]), None, whole=True)


def peers(project: Project) -> Mode:
    """Judge other libraries, through the adapters in tests/peers."""

    def judged(concept: Concept, law: Law) -> Iterator[Implementation]:
        return implementations.peers(project, concept, law)

    return Mode(judged, report.peers_path(project), pass_over=True)


def mistakes() -> Mode:
    """Put every law to every mistake, to learn how each falls."""
    return Mode(lambda concept, _: implementations.mistakes(concept), None, go_on=True)


def yours(pairs: Iterable[str], *, seconds: float, go_on: bool) -> Mode:
    """Judge a reader's own code.

    Args:
        pairs: `CONCEPT=FILE`, or an importable module in place of the file.
        seconds: Time limit for loading it.
        go_on: As in `Mode`.
    """
    targets: defaultdict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        path, _, target = pair.partition("=")
        targets[path].append(target)
    loaded: dict[tuple[str, str], Implementation] = {}

    def judged(concept: Concept, _: Law) -> Iterator[Implementation]:
        several = len(targets[concept.path]) > 1
        for target in targets[concept.path]:
            if (concept.path, target) not in loaded:
                name = f"yours:{Path(target).stem}" if several else "yours"
                one = implementations.yours(target, f"{name}.{concept.name}", seconds)
                loaded[concept.path, target] = one
            yield loaded[concept.path, target]

    return Mode(judged, None, go_on=go_on)
