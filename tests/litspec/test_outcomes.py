"""The words for what became of a trial, for every kind of code and of error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from litspec.outcomes import (
    Expectation,
    Kind,
    NotOfferedError,
    Outcome,
    Trial,
    classify,
    difference,
    lacking,
)

ERRORS = st.sampled_from(
    [
        None,
        AssertionError("Greatest absolute difference: 0.5 at index (0,)"),
        NameError("undefined"),
        NotImplementedError(),
        Unsatisfiable(),
        KeyboardInterrupt(),
    ]
)
KINDS = st.sampled_from(Kind)


def trial(kind, expected=None):
    return Trial("part/name", "law", kind, "one", expected)


@given(KINDS, st.booleans(), ERRORS, st.booleans())
def test_only_what_held_or_failed_as_it_must_is_good(kind, must_fail, error, skipped):
    expected = Expectation("why") if must_fail or kind is Kind.MISTAKE else None
    outcome = classify(trial(kind, expected), error, skipped=skipped)
    offered = not isinstance(error, NotImplementedError | Unsatisfiable)
    if skipped:
        assert outcome is Outcome.SKIPPED
    elif kind.foreign and not offered:
        assert outcome is Outcome.NOT_OFFERED
    elif expected is None:
        assert outcome.good == (error is None)
    elif kind is Kind.MISTAKE:
        assert outcome.good == isinstance(error, AssertionError)
    else:
        assert outcome.good == isinstance(error, Exception)


@given(ERRORS.filter(bool))
def test_a_crash_is_never_taken_for_a_broken_law(error):
    outcome = classify(trial(Kind.REFERENCE), error)
    assert (outcome is Outcome.CRASHED) == (
        isinstance(error, Exception) and not isinstance(error, AssertionError)
    )


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (Expectation("why", "absolute difference"), Outcome.DEVIATES),
        (Expectation("why", "accepted"), Outcome.FAILED),
        (Expectation("why", most=0.5), Outcome.DEVIATES),
        (Expectation("why", most=0.4), Outcome.FAILED),
    ],
)
def test_a_peer_deviates_as_declared_or_fails(expected, outcome):
    error = AssertionError("Greatest absolute difference: 0.5 at index (0,) (up to 1e-7 allowed)")
    found = classify(trial(Kind.PEER, expected), error, largest=difference(error))
    assert found is outcome


def test_a_failure_without_numbers_is_no_difference_as_declared():
    error = ValueError("shapes differ")
    assert difference(error) is None
    expected = Expectation("why", most=1.0)
    assert classify(trial(Kind.PEER, expected), error) is Outcome.FAILED


def test_the_largest_of_several_differences_is_taken():
    error = AssertionError("Absolute difference: 0.25\nGreatest absolute difference: 3e2 at")
    assert difference(error) == 300


THEIRS = """
class Thing:
    known = 1
    def __getattr__(self, name):
        raise AttributeError(f"no {name}", name=name)
    def wrong(self):
        return self.known.absent
    def one(self, first, *, second=2):
        return first
    def inner(self):
        return self.one()
def offered(): raise NotImplementedError("windows")
def refuses(): raise NotOfferedError("double (is it doubled?)")
def mismatched(): raise ValueError("takes")
def other(): return 1 + "a"
class Array:
    def __init__(self, *shape): self.shape = shape
def first(array, *others): return [][0]
def checks(array): assert array.shape[0]
def empties(array): return first(Array(0))
"""
theirs = {"NotOfferedError": NotOfferedError}
exec(compile(THEIRS, "theirs.py", "exec"), theirs)
thing = theirs["Thing"]()


@pytest.mark.parametrize(
    ("ask", "lacks"),
    [
        (theirs["offered"], "windows"),
        (theirs["refuses"], "double (is it doubled?)"),
        (lambda: thing.absent, "absent"),  # raised in their `__getattr__`, asked for here
        (lambda: int.absent, "absent"),
        (thing.wrong, None),  # their own fault, in their own code
        (thing.inner, None),
        (theirs["mismatched"], None),
        (theirs["other"], None),
        (lambda: 1 + "a", None),
        (lambda: theirs["first"](theirs["Array"](2, 0)), "an empty input"),
        (lambda: theirs["first"](theirs["Array"](1), 3, theirs["Array"](0)), "an empty input"),
        (lambda: theirs["first"](theirs["Array"](2, 1)), None),
        (lambda: theirs["empties"](theirs["Array"](1)), None),  # it made the empty one itself
        (lambda: theirs["checks"](theirs["Array"](0)), None),  # an assertion is an answer
        (lambda: thing.one(), "first"),  # noqa: PLW0108 — the call is the law's
        (lambda: thing.one(1, third=3), "third"),
        (lambda: thing.one(1, first=3), "first"),
        (lambda: thing.one(1, 2, 3), "Thing.one() takes 2 positional arguments but 4 were given"),
    ],
)
def test_what_code_lacks_is_what_a_law_asked_for_in_vain(ask, lacks):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ask()
    error = caught.value
    # Only what a law does counts: pytest's own lines are left out.
    error = error.with_traceback(caught.tb.tb_next)
    assert lacking(error, lambda file: file == __file__) == lacks


def test_an_error_from_nowhere_lacks_nothing():
    assert lacking(AttributeError("no traceback", name="a"), lambda _: True) is None
