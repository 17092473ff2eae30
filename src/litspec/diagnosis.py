"""Which mistakes explain how foreign code falls: the same laws, on the same examples, alike.

Hypothesis draws the same examples for every implementation. A mistake may be what foreign code
has made if that code breaks every law that must catch the mistake. Then the examples are compared
one by one: whether both fall, at which line of the law, in which way, and how far off.
"""

import math
from collections.abc import Iterable, Mapping

from litspec.examples import Fall
from litspec.outcomes import Kind, Outcome, Trial
from litspec.pages import Concept, LawKind, Mistake
from litspec.report import Result

# On code that was not made from the book's, right names had 0.8 and more, wrong ones rarely.
GOOD_MATCH = 0.8
EXPLAINED = 0.5  # how alike two falls of a law are, at least, for one to explain the other
Falls = list[Fall | None]  # of one law, an example each


def broken(results: Iterable[Result]) -> dict[str, set[str]]:
    """Return the laws that each foreign implementation breaks, by an assertion."""
    return _laws(results, Outcome.FAILED)


def _laws(results: Iterable[Result], *outcomes: Outcome) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for result in results:
        if Kind(result["kind"]).foreign:
            laws = found.setdefault(result["implementation"], set())
            if result["outcome"] in outcomes:
                laws.add(result["law"])
    return found


def suspects(concept: Concept, results: Iterable[Result]) -> set[Trial]:
    """Return the trials of mistakes that are worth a look, after foreign code was judged.

    A mistake is a suspect where the code breaks every law that must catch it, of those that had
    something to judge. It is put to these laws first; if it falls as the code does, to the others
    that the code breaks, those of mathematics only if its own are.
    """
    results = list(results)
    fell, told = broken(results), _laws(results, Outcome.FAILED, Outcome.PASSED)
    kinds = {law.name: law.kind for law in concept.page.laws}
    found: set[Trial] = set()
    for name, laws in fell.items():
        seen = falls(results, name)
        for mistake in concept.page.mistakes:
            catching = own_laws(mistake) & told[name]
            if not catching or not catching <= laws:
                continue
            put = {law for law in catching if law in seen}
            theirs = _tried(results, f"mistake:{mistake.name}")
            if put and put <= theirs.keys():
                alike = {law: likeness(seen[law], theirs[law]) for law in put}
                if _mean(alike) >= GOOD_MATCH:
                    manners = all(kinds[law] is LawKind.ROBUSTNESS for law in catching)
                    put = {law for law in laws if not manners or kinds[law] is LawKind.ROBUSTNESS}
            trials = (
                Trial(concept.path, law, Kind.MISTAKE, f"mistake:{mistake.name}") for law in put
            )
            found.update(trials)
    return found


def own_laws(mistake: Mistake) -> set[str]:
    """Return the names of the laws that must catch a mistake."""
    return {law.partition(".")[2] for law in mistake.caught_by}


def _tried(results: Iterable[Result], name: str) -> dict[str, Falls]:
    """Return how a mistake went on the laws that it was put to, whether it fell or not."""
    return {
        result["law"]: [Fall(*one) if one else None for one in result.get("falls", ())]
        for result in results
        if result["implementation"] == name
    }


def falls(results: Iterable[Result], name: str) -> dict[str, Falls]:
    """Return how an implementation fell, by law: of laws on which it did."""
    return {
        result["law"]: [Fall(*one) if one else None for one in result["falls"]]
        for result in results
        if result["implementation"] == name and any(result.get("falls", ()))
    }


def closest(
    concept: Concept, results: Iterable[Result], name: str = "yours"
) -> list[tuple[Mistake, float]]:
    """Return the mistakes that explain how foreign code falls, the one that explains most first.

    Each comes with how alike it is, from 0 to 1, over its own laws. Code may have several faults:
    laws that a mistake explains are left out when the next is looked for.

    Args:
        concept: The concept.
        results: Of a run that explains.
        name: Whose falls are to be explained.
    """
    results = list(results)
    left = {
        law: seen
        for law, seen in falls(results, name).items()
        if law in broken(results).get(name, ())
    }
    known = {
        mistake: falls(results, f"mistake:{mistake.name}") for mistake in concept.page.mistakes
    }
    alike = {
        mistake: {law: likeness(left[law], theirs[law]) for law in theirs.keys() & left.keys()}
        for mistake, theirs in known.items()
        if theirs
    }
    kinds = {law.name: law.kind for law in concept.page.laws}
    named: list[tuple[Mistake, float]] = []
    while left:
        scores = {
            mistake: (not _manners(mistake, kinds), *_score(mistake, own, left))
            for mistake, own in alike.items()
            if any(law in left and own[law] >= EXPLAINED for law in own)
            and _mean(_of_its_own(mistake, own)) >= GOOD_MATCH
        }
        best = max(scores, key=lambda mistake: scores[mistake], default=None)
        if best is None:
            break
        named.append((best, _mean(_of_its_own(best, alike[best]))))
        left = {law: seen for law, seen in left.items() if alike[best].get(law, 0) < EXPLAINED}
        del alike[best]
    return named


def _of_its_own(mistake: Mistake, alike: Mapping[str, float]) -> Mapping[str, float]:
    """Return how alike a mistake is on the laws that must catch it, where it was put to them."""
    own = own_laws(mistake)
    return {law: share for law, share in alike.items() if law in own} or alike


def _manners(mistake: Mistake, kinds: Mapping[str, LawKind]) -> bool:
    """Return whether a mistake breaks no mathematics: bad input, devices, types, counts."""
    return all(kinds[law] is LawKind.ROBUSTNESS for law in own_laws(mistake))


def _mean(own: Mapping[str, float]) -> float:
    return sum(own.values()) / len(own)


def _score(
    mistake: Mistake, alike: Mapping[str, float], left: Mapping[str, Falls]
) -> tuple[float, float, float]:
    """Return how alike a mistake is on its own laws, how much it explains, and how alike on all."""
    explained = sum(share for law, share in alike.items() if law in left) / len(left)
    return round(_mean(_of_its_own(mistake, alike)), 2), explained, _mean(alike)


def likeness(one: Falls, other: Falls) -> float:
    """Return how alike two implementations fall on a law: over examples on which either fell.

    Examples:
        >>> same = Fall(3, "differs", 0.25)
        >>> likeness([None, same], [None, same])
        1.0
        >>> likeness([same, same], [None, same])
        0.5
    """
    pairs = [pair for pair in zip(one, other, strict=False) if pair != (None, None)]
    return sum(_alike(*pair) for pair in pairs) / len(pairs) if pairs else 0.0


def _alike(one: Fall | None, other: Fall | None) -> float:
    if one is None or other is None:
        return 0.0
    if (one.place, one.how) != (other.place, other.how):
        return 0.2
    if one.size is None or other.size is None:
        return 1.0 if one.detail == other.detail else 0.6
    if one.size == other.size or not math.isfinite(one.size + other.size):
        return 1.0 if str(one.size) == str(other.size) else 0.5
    apart = abs(one.size - other.size) / max(one.size, other.size)
    return 1.0 if apart < 0.01 else 0.5
