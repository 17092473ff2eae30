"""The examples of a property: watch each, stop in time, and tell the smallest that fell."""

import functools
import re
import signal
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import reject
from hypothesis.errors import UnsatisfiedAssumption

from litspec.outcomes import difference

ENOUGH = 15  # examples of a law, to tell how it falls
FAILING = re.compile(
    r"(?:Fail\w+|Falsifying) (?:test case|explicit example|example): \w+\(\n(?P<arguments>.*?)^\)",
    re.DOTALL | re.MULTILINE,
)
DRAWN = re.compile(r"^Draw \d+(?: \((?P<label>.*?)\))?: (?P<value>.*)", re.DOTALL)
STAND_IN = "data(...)"  # how Hypothesis shows an argument that draws later


@dataclass
class Watch:
    """How the examples of one trial went.

    Args:
        go_on: Whether to go on where an example fell, to see how others fall.
        pass_over: Whether to pass over examples of a kind that is not implemented: a peer is
            judged by what it offers.

    Attributes:
        letters: One for each example: `.` held, `?` is not offered, others as `fell` says.
        largest: The largest difference between numbers that an example showed.
    """

    go_on: bool = False
    pass_over: bool = False
    letters: list[str] = field(default_factory=list)
    largest: float | None = None

    def around(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Return a property that notes how each example of `inner` went."""

        @functools.wraps(inner)
        def property(*args: Any, **kwargs: Any) -> None:
            if self.go_on and len(self.letters) >= ENOUGH:
                return
            try:
                inner(*args, **kwargs)
                self.letters.append(".")
            except UnsatisfiedAssumption:
                raise
            except Exception as error:
                if self.pass_over and type(error) is NotImplementedError:
                    reject()
                self.note(error)
                if not self.go_on:
                    raise

        return property

    def note(self, error: BaseException) -> None:
        """Write down that an example fell, and how far apart its numbers were."""
        self.letters.append("?" if isinstance(error, NotImplementedError) else fell(error))
        if (seen := difference(error)) is not None:
            self.largest = seen if self.largest is None else max(self.largest, seen)


def fell(error: BaseException) -> str:
    """Return a letter for how an example fell: small for an assertion, capital for another error.

    Code that goes wrong in the same way gives the same letter: it stands for the message, its
    numbers rounded, since the same formula written otherwise may differ in the last digits.
    """
    # pytest's explanations name files and addresses: `<function double at 0x7f…>`.
    text = re.sub(r"<[^>]*>|\n +\+ .*", "", str(error))
    text = re.sub(r"\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.3g}", text)
    letter = chr(ord("a") + zlib.crc32(f"{type(error).__name__} {text}".encode()) % 26)
    return letter if isinstance(error, AssertionError) else letter.upper()


class TimeLimitError(BaseException):
    """A law took too long. Not an `Exception`: Hypothesis would try to make it smaller."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop what runs inside after a while, where the system has alarms."""
    if not seconds or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeLimitError(f"still running after {seconds:g} seconds: an endless loop?")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def counterexample(error: BaseException, argument: str) -> str:
    """Return the smallest failing input that Hypothesis found, a line for each drawn value."""
    drawn: list[tuple[str, str]] = []
    for note in getattr(error, "__notes__", []):
        if match := FAILING.search(note):
            arguments = textwrap.dedent(match["arguments"]).rstrip().removesuffix(",")
            drawn += [
                (name, value)
                for name, _, value in (
                    text.partition("=") for text in re.split(r",\n(?=\w+=)", arguments)
                )
                if name != argument and value != STAND_IN
            ]
        elif match := DRAWN.match(note):
            drawn.append((match["label"] or "drawn", match["value"]))
    return "\n".join(
        f"{name}={value}".replace("\n", "\n" + " " * (len(name) + 1)) for name, value in drawn
    )
