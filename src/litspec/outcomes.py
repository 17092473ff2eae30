"""What a law said of an implementation: the words for it, and how each comes about."""

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hypothesis.errors import FailedHealthCheck, Unsatisfiable

# What shows that there is nothing to be judged: a name that is not there, no example that fits.
MISSING = (NotImplementedError, Unsatisfiable, FailedHealthCheck)
# Python's words for a call that does not fit a signature.
MISCALLED = re.compile(r"\(\) (takes|missing|got an unexpected|got multiple|got some positional)")
QUOTED = re.compile(r"'(\w+)'")
DIFFERENCE = re.compile(r"(?:Greatest a|A)bsolute difference: (\S+)")


class NotOfferedError(AttributeError, NotImplementedError):
    """A law asks for something that an implementation does not have; the text says what."""


class Kind(StrEnum):
    """Whose code is on trial."""

    REFERENCE = "reference"
    MISTAKE = "mistake"
    PEER = "peer"
    YOURS = "yours"

    @property
    def foreign(self) -> bool:
        """Whether the code was not written here, so that it may lack what a law asks for."""
        return self in (Kind.PEER, Kind.YOURS)


class Outcome(StrEnum):
    """What became of a trial; the values are what reports and pages say."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"  # it fell to something other than an assertion: nothing is said of the law
    CAUGHT = "caught"  # a mistake, by an assertion
    SURVIVED = "survived"  # what must fail did not
    DEVIATES = "deviates"  # a peer, as its adapter declares
    NOT_OFFERED = "not offered"
    SKIPPED = "skipped"
    NOT_RUN = "not run"

    @property
    def good(self) -> bool:
        """Whether the suite may go on with it."""
        return self in (Outcome.PASSED, Outcome.CAUGHT, Outcome.DEVIATES, Outcome.NOT_OFFERED)


@dataclass(frozen=True)
class Expectation:
    """Why an implementation must break a law, and how that shows.

    Args:
        reason: Why, in a sentence.
        shows: What the failure must say; any failure will do if None.
        most: The largest absolute difference that it may show; any if None.
    """

    reason: str
    shows: str | None = None
    most: float | None = None

    def explains(self, error: BaseException, largest: float | None) -> bool:
        """Return whether a failure is the one that was expected.

        Args:
            error: What ended the trial.
            largest: The largest difference that its examples showed, if they showed any.
        """
        if self.shows is not None and self.shows not in str(error):
            return False
        return self.most is None or (largest is not None and largest <= self.most)


@dataclass(frozen=True)
class Trial:
    """One law, put to one implementation.

    Args:
        concept: The concept's path.
        law: The law's name, without the concept.
        kind: Whose code it is.
        name: `reference`, `mistake:NAME`, a peer's name, or `yours`.
        expected: Why it must fail; None where it must hold.
    """

    concept: str
    law: str
    kind: Kind
    name: str
    expected: Expectation | None = None


def classify(
    trial: Trial,
    error: BaseException | None,
    *,
    skipped: bool = False,
    largest: float | None = None,
) -> Outcome:
    """Return what became of a trial.

    Args:
        trial: The trial.
        error: What ended it, or None.
        skipped: Whether it was left by the law itself.
        largest: The largest difference between numbers that its examples showed.
    """
    if skipped:
        return Outcome.SKIPPED
    if error is None:
        return Outcome.PASSED if trial.expected is None else Outcome.SURVIVED
    if trial.kind.foreign and isinstance(error, MISSING):
        return Outcome.NOT_OFFERED
    assertion = isinstance(error, AssertionError)
    if trial.kind is Kind.MISTAKE:
        return Outcome.CAUGHT if assertion else Outcome.CRASHED
    if trial.expected is not None and isinstance(error, Exception):
        return Outcome.DEVIATES if trial.expected.explains(error, largest) else Outcome.FAILED
    # An endless loop is stopped by a `BaseException`: that is the law's own question too.
    return Outcome.CRASHED if isinstance(error, Exception) and not assertion else Outcome.FAILED


def difference(error: BaseException) -> float | None:
    """Return the largest absolute difference that a failed comparison tells of, if it does."""
    found = [float(number) for number in DIFFERENCE.findall(str(error))]
    return max(found, default=None)


def given_nothing(error: BaseException, ours: Callable[[str], bool]) -> bool:
    """Return whether code went wrong when a law gave it an array without items.

    Few would call that a broken law: it is passed over, and told.

    Args:
        error: What the code went wrong with, no assertion.
        ours: Whether a file is the laws' own.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    last = max((at for at, one in enumerate(frames) if ours(one.f_code.co_filename)), default=-1)
    if isinstance(error, AssertionError) or not 0 <= last < len(frames) - 1:
        return False
    given = list(frames[last + 1].f_locals.values())
    given += [one for several in given if isinstance(several, tuple) for one in several]
    return any(0 in getattr(one, "shape", ()) for one in given)


def lacking(error: BaseException, ours: Callable[[str], bool]) -> str | None:
    """Return what a law asked for in vain, or None where an error tells of something else.

    Args:
        error: What an example fell to.
        ours: Whether a file is the laws' own, and not the code on trial.
    """
    if type(error) in (NotOfferedError, NotImplementedError):
        return str(error)
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    asked = [code for code in frames if code.co_name != "__getattr__"]  # torch has one
    if not asked or not ours(asked[-1].co_filename):  # the code went wrong by itself
        return "an empty input" if given_nothing(error, ours) else None
    if isinstance(error, AttributeError):
        return str(error.name)
    if isinstance(error, TypeError) and (match := MISCALLED.search(str(error))):
        named = QUOTED.findall(str(error)[match.start() :])
        return ", ".join(named) if named else str(error)
    return None
