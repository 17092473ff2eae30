"""Which mistakes are named, and in which order, for any falls of any mistakes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litspec.diagnosis import GOOD_MATCH, closest, suspects
from litspec.examples import Fall
from litspec.pages import Concept, Law, Mistake, Page

LAWS = ("one", "two", "three")
falls = st.lists(
    st.none()
    | st.builds(Fall, st.integers(1, 2), st.just("differs"), st.sampled_from([0.5, 1.0, 2.0]))
    | st.builds(Fall, st.integers(1, 2), st.just("accepted"), st.none(), st.sampled_from("ab")),
    min_size=2,
    max_size=3,
)
by_law = st.dictionaries(st.sampled_from(LAWS), falls.filter(any), min_size=1)


def concept(caught):
    """A concept whose mistakes are named `m0`, `m1` and so on, each with the laws it breaks."""
    mistakes = tuple(
        Mistake(f"c.m{at}", tuple(f"c.{law}" for law in laws), "", "", 1)
        for at, laws in enumerate(caught)
    )
    laws = tuple(Law(f"c.{law}", "So.", 1) for law in LAWS)
    page = Page(Path("c.md"), laws=laws, mistakes=mistakes)
    return Concept("part/c", page, Path("c.py"), Path("test_c.py"), "toy.part.c")


def rows(name, broken):
    """The results of one implementation: how it fell on each law, or that it held."""
    kind = "yours" if name == "yours" else "mistake"
    return [
        {
            "law": law, "implementation": name, "kind": kind,
            "outcome": "failed" if law in broken else "passed",
            "falls": [one and list(one) for one in broken.get(law, [None])],
        }
        for law in LAWS
    ]  # fmt: skip


@st.composite
def runs(draw):
    """A concept and the results of a run that looks at all its mistakes."""
    mistakes = draw(st.lists(by_law, min_size=1, max_size=4))
    yours = draw(by_law)
    results = rows("yours", yours)
    for at, broken in enumerate(mistakes):
        results += rows(f"mistake:m{at}", broken)
    return concept(mistakes), results, mistakes, yours


@given(runs(), st.randoms(use_true_random=False))
def test_what_is_named_does_not_depend_on_the_order_of_results(run, random):
    found, results, *_ = run
    shuffled = random.sample(results, len(results))
    one, other = closest(found, results), closest(found, shuffled)
    assert [mistake.id for mistake, _ in one] == [mistake.id for mistake, _ in other]
    assert [alike for _, alike in one] == pytest.approx([alike for _, alike in other])
    assert suspects(found, results) == suspects(found, shuffled)


@given(runs())
def test_no_mistake_is_named_twice_or_without_likeness(run):
    found, results, mistakes, yours = run
    named = closest(found, results)
    assert len({mistake.id for mistake, _ in named}) == len(named)
    for mistake, alike in named:
        assert GOOD_MATCH <= alike <= 1
        assert mistakes[int(mistake.name[1:])].keys() & yours.keys()


@given(st.lists(by_law, min_size=1, max_size=4), st.data())
def test_code_that_is_a_mistake_is_named_as_one_that_falls_just_so(mistakes, data):
    own = data.draw(st.sampled_from(mistakes))
    found = concept(mistakes)
    results = rows("yours", own)
    for at, broken in enumerate(mistakes):
        results += rows(f"mistake:m{at}", broken)
    (mistake, alike), *_ = closest(found, results)
    assert alike == 1
    broken = mistakes[int(mistake.name[1:])]
    assert all(broken[law] == own[law] for law in broken.keys() & own.keys())
    trials = suspects(found, results)
    assert {trial.law for trial in trials} <= own.keys()
    for at, broken in enumerate(mistakes):
        looked_at = any(trial.name == f"mistake:m{at}" for trial in trials)
        assert looked_at == (broken.keys() <= own.keys())


@given(runs())
def test_code_that_breaks_nothing_is_no_mistake(run):
    found, results, *_ = run
    kept = rows("yours", {}) + [one for one in results if one["kind"] == "mistake"]
    assert closest(found, kept) == []
    assert suspects(found, kept) == set()
