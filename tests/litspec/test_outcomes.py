"""The words for what became of a trial, for every kind of code and of error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from litspec.outcomes import Expectation, Kind, Outcome, Trial, classify, difference

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
