"""Which mistake explains how code falls, on falls that are written down here."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litspec.diagnosis import closest, likeness, suspects
from litspec.examples import Fall
from litspec.pages import Concept, Law, LawKind, Mistake, Page

ONE = Fall(7, "differs", 0.25)
FALLS = st.lists(
    st.none()
    | st.builds(
        Fall,
        st.integers(1, 3),
        st.sampled_from(["differs", "accepted"]),
        st.none() | st.floats(0.1, 10),
        st.sampled_from(["", "a", "b"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture
def concept(tmp_path):
    """A concept of three laws; `both` breaks two of them, `one` the first, `rude` the third."""
    laws = tuple(Law(f"c.{name}", "so", 1) for name in ("first", "second", "rejects"))
    caught = {"both": ("c.first", "c.second"), "one": ("c.first",), "rude": ("c.rejects",)}
    mistakes = tuple(Mistake(f"c.{name}", by, "", "", 1) for name, by in caught.items())
    page = Page(tmp_path / "c.md", laws=laws, mistakes=mistakes)
    return Concept("part/c", page, tmp_path / "c.py", tmp_path / "test_c.py", "toy.part.c")


def results(**implementations):
    """Return results as a run writes them: per implementation, the falls of each law."""
    return [
        {
            "law": law,
            "kind": "yours" if name.startswith("yours") else "mistake",
            "implementation": name if name.startswith("yours") else f"mistake:{name}",
            "outcome": "crashed" if falls == "crash" else "failed" if any(falls) else "passed",
            "falls": [None] if falls == "crash" else [one and list(one) for one in falls],
        }
        for name, laws in implementations.items()
        for law, falls in laws.items()
    ]


@given(FALLS)
def test_what_falls_alike_is_alike(falls):
    assert likeness(falls, falls) == (1.0 if any(falls) else 0.0)


@given(FALLS, FALLS)
def test_likeness_is_a_share_and_has_no_order(one, other):
    assert likeness(one, other) == likeness(other, one)
    assert 0 <= likeness(one, other) <= 1


@pytest.mark.parametrize(
    ("other", "least", "most"),
    [
        (Fall(7, "differs", 0.2501), 1.0, 1.0),  # another order of the same sum
        (Fall(7, "differs", 0.5), 0.4, 0.6),
        (Fall(8, "differs", 0.25), 0.0, 0.3),
        (Fall(7, "accepted"), 0.0, 0.3),
        (None, 0.0, 0.0),
    ],
)
def test_falls_differ_by_place_way_and_size(other, least, most):
    assert least <= likeness([ONE], [other]) <= most


def test_a_suspect_breaks_no_law_that_the_code_keeps(concept):
    seen = results(yours={"first": [ONE], "second": [None], "rejects": [None]})
    assert {trial.name for trial in suspects(concept, seen)} == {"mistake:one"}
    assert {trial.law for trial in suspects(concept, seen)} == {"first"}


def test_what_crashed_speaks_neither_for_nor_against(concept):
    seen = results(yours={"first": [ONE], "second": "crash", "rejects": [None]})
    assert {trial.name for trial in suspects(concept, seen)} == {"mistake:both", "mistake:one"}


def test_a_suspect_is_put_to_its_own_laws_first_and_to_the_others_if_it_falls_alike(concept):
    code = {"first": [ONE], "second": [ONE], "rejects": [ONE]}
    one = {trial.law for trial in suspects(concept, results(yours=code)) if "one" in trial.name}
    assert one == {"first"}
    seen = results(yours=code, one={"first": [ONE]})
    one = {trial.law for trial in suspects(concept, seen) if "one" in trial.name}
    assert one == {"first", "second", "rejects"}
    seen = results(yours=code, one={"first": [None]})
    one = {trial.law for trial in suspects(concept, seen) if "one" in trial.name}
    assert one == {"first"}


def test_a_mistake_in_manners_is_not_put_to_mathematics(concept):
    laws = tuple(
        replace(law, kind=LawKind.ROBUSTNESS) if law.name == "rejects" else law
        for law in concept.page.laws
    )
    concept = replace(concept, page=replace(concept.page, laws=laws))
    seen = results(yours={"first": [ONE], "rejects": [ONE]}, rude={"rejects": [ONE]})
    rude = {trial.law for trial in suspects(concept, seen) if "rude" in trial.name}
    assert rude == {"rejects"}


def test_code_without_a_broken_law_has_no_suspects(concept):
    assert suspects(concept, results(yours={"first": [None], "second": "crash"})) == set()


def test_the_mistake_that_falls_alike_is_named(concept):
    other = Fall(7, "differs", 3.0)
    seen = results(
        yours={"first": [None, ONE], "second": [ONE], "rejects": [None]},
        both={"first": [None, ONE], "second": [ONE]},
        one={"first": [other, other], "second": [None]},
    )
    assert [(mistake.name, alike) for mistake, alike in closest(concept, seen)] == [("both", 1.0)]


def test_independent_faults_are_named_each_by_its_own_laws(concept):
    refused = Fall(9, "accepted", None, "a")
    seen = results(
        yours={"first": [ONE], "second": [ONE], "rejects": [refused]},
        both={"first": [ONE], "second": [ONE], "rejects": [None]},
        one={"first": [None], "second": [None], "rejects": [None]},
        rude={"first": [None], "second": [None], "rejects": [refused]},
    )
    named = [(mistake.name, alike) for mistake, alike in closest(concept, seen)]
    assert named == [("both", 1.0), ("rude", 1.0)]


def test_nothing_is_named_that_falls_otherwise(concept):
    seen = results(
        yours={"first": [ONE], "second": [None], "rejects": [None]},
        one={"first": [Fall(8, "differs", 0.25)]},
    )
    assert closest(concept, seen) == []


def test_each_of_several_files_is_explained_by_its_own_falls(concept):
    seen = results(
        **{"yours:a": {"first": [ONE], "second": [None]}, "yours:b": {"first": [None]}},
        one={"first": [ONE]},
    )
    assert [mistake.name for mistake, _ in closest(concept, seen, "yours:a")] == ["one"]
    assert closest(concept, seen, "yours:b") == []
