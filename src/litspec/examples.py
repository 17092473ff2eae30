"""The examples of a property: watch each, stop in time, and tell the smallest that fell."""

import functools
import os
import re
import signal
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import Phase, reject, settings
from hypothesis.control import current_build_context
from hypothesis.errors import UnsatisfiedAssumption

from litspec.outcomes import NotOfferedError, difference, lacking

LONG = 200  # items: above this a diff is of no use, and takes minutes
ENOUGH = 12  # examples of a law, to tell how it falls
IN_VAIN = 8  # examples that ask for a name in vain, and none that does not
REFUSED = 150  # examples that an adapter refuses: then those that it does not are enough
FAILING = re.compile(
    r"(?:Fail\w+|Falsifying) (?:test case|explicit example|example): \w+\(\n(?P<arguments>.*?)^\)",
    re.DOTALL | re.MULTILINE,
)
DRAWN = re.compile(r"^Draw \d+(?: \((?P<label>.*?)\))?: (?P<value>.*)", re.DOTALL)
STAND_IN = "data(...)"  # how Hypothesis shows an argument that draws later


# Words by which a failed comparison, or `rejects`, says what kind of failure it is.
KNOWN = ("attribute 'shape'", "attribute 'dtype'", "accepted", "does not mention", "failed with")


class Fall(NamedTuple):
    """How one example fell.

    Args:
        place: The line of the law file at which it fell.
        how: In which way: two numbers differ, two shapes, something was accepted, an error's name.
        size: How far apart the numbers were.
        detail: A mark of the whole message, where it tells of no difference between numbers.
    """

    place: int
    how: str
    size: float | None = None
    detail: str = ""


@dataclass
class Watch:
    """How the examples of one trial went.

    Args:
        go_on: Whether to go on where an example fell, to see how others fall.
        ours: Whether a file is the laws' own: then examples that ask in vain for something are
            passed over, since foreign code is judged by what it offers. None for code that must
            offer all.
        past: Marks of examples to pass over, since those that this one is compared with were.

        refusals: How many examples may be passed over before the search ends.

    Attributes:
        falls: One for each example, None where it held.
        passed: Marks of the examples that were passed over.
        lacks: What examples asked for in vain, and how many did.
        largest: The largest difference between numbers that an example showed.
    """

    go_on: bool = False
    ours: Callable[[str], bool] | None = None
    past: Collection[str] = ()
    refusals: int = REFUSED
    falls: list[Fall | None] = field(default_factory=list)
    lacks: Counter[str] = field(default_factory=Counter)
    largest: float | None = None
    passed: set[str] = field(default_factory=set)
    calls: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def over(self, property: Any, file: str) -> Iterator[None]:
        """Watch the examples of a property while it runs, or the test where it draws none.

        Args:
            property: The test function.
            file: The law file that holds it.
        """
        handle = getattr(property, "hypothesis", None)
        inner: Any = handle and handle.inner_test
        if handle:
            handle.inner_test = self.around(inner)
        try:
            yield
        except SeenEnoughError as enough:
            if not self.falls:
                raise NotOfferedError(", ".join(self.lacks)) from enough
        except (Exception, TimeLimitError) as error:
            if not handle and (name := self.lacking(error)) is not None:
                raise NotOfferedError(name) from error
            if not handle or isinstance(error, TimeLimitError):
                self.note(error, file)
            raise
        finally:
            if handle:
                handle.inner_test = inner

    def around(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Return a property that notes how each example of `inner` went."""

        @functools.wraps(inner)
        def property(*args: Any, **kwargs: Any) -> None:
            if self.go_on and len(self.falls) >= ENOUGH:
                raise SeenEnoughError
            mark = self.mark() if self.ours else ""
            if mark in self.past:
                reject()
            try:
                inner(*args, **kwargs)
                self.falls.append(None)
            except UnsatisfiedAssumption:
                raise
            except Exception as error:
                if (name := self.lacking(error)) is not None:
                    self.lacks[name] += 1
                    self.passed.add(mark)
                    if self.asked_enough(type(error) is NotImplementedError, self.lacks[name]):
                        raise SeenEnoughError from error
                    reject()
                self.note(error, inner.__code__.co_filename)
                if not self.go_on:
                    raise

        return property

    def asked_enough(self, refused: bool, times: int) -> bool:
        """Return whether to look for no more examples of what code offers.

        Args:
            refused: Whether an adapter refused the last, which may depend on what was drawn.
            times: How often the same was asked for in vain.
        """
        return self.lacks.total() >= self.refusals or not (refused or self.falls or times < IN_VAIN)

    def mark(self) -> str:
        """Return what tells the example at hand from others, the same whoever is judged."""
        drawn = zlib.crc32(repr(current_build_context().data.choices).encode())
        self.calls[drawn] += 1
        return f"{drawn:x}.{self.calls[drawn]}"

    def lacking(self, error: BaseException) -> str | None:
        """Return what the law asked for in vain, where that is a reason to pass over."""
        return lacking(error, self.ours) if self.ours else None

    def note(self, error: BaseException, file: str) -> None:
        """Write down that an example fell, and how far apart its numbers were."""
        self.falls.append(fall(error, file))
        if (seen := difference(error)) is not None:
            self.largest = seen if self.largest is None else max(self.largest, seen)


def fall(error: BaseException, file: str) -> Fall:
    """Return how an example fell.

    Args:
        error: What it fell to.
        file: The law file, in which the place is looked for.
    """
    place, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            place = trace.tb_lineno
        trace = trace.tb_next
    # pytest's explanations name files and addresses: `<function double at 0x7f…>`.
    text = re.sub(r"<[^>]*>|\n +\+ .*", "", str(error))
    if not isinstance(error, AssertionError):
        return Fall(place, type(error).__name__)
    size = difference(error)
    how = next((words for words in KNOWN if words in text), "assert")
    if size is not None:
        return Fall(place, "differs", size)
    return Fall(place, how, None, f"{zlib.crc32(text.encode()):x}")


def is_long(value: object) -> bool:
    """Return whether a text or list has more items than can be compared line by line at leisure.

    Examples:
        >>> is_long("abc"), is_long([range(9)] * 300), is_long([[1] * 20] * 20)
        (False, True, True)
    """
    if not isinstance(value, list | tuple | str):
        return False
    inner = [item for item in value if isinstance(item, list | tuple)]
    return len(value) + sum(len(item) for item in inner) > LONG


class SeenEnoughError(BaseException):
    """More examples would tell nothing new. Not an `Exception`: it ends the search for them."""


class TimeLimitError(BaseException):
    """A law took too long. Not an `Exception`: Hypothesis would try to make it smaller."""


@contextmanager
def as_drawn(property: Any) -> Iterator[None]:
    """In the block a property reports the first example that falls, and looks for none smaller."""
    name = "_hypothesis_internal_use_settings"
    before = getattr(property, name, None)
    if before is None:
        yield
        return
    phases = [phase for phase in before.phases if phase is not Phase.shrink]
    setattr(property, name, settings(before, phases=phases))
    try:
        yield
    finally:
        setattr(property, name, before)


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


def limit_memory(share: float = 0.75) -> None:
    """Let this process take no more than a share of the machine's memory, where systems can say so.

    Code on trial that asks for more gets a `MemoryError`, or its library's own, and crashes alone.
    """
    try:
        import resource

        most = int(share * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (ImportError, OSError, ValueError):  # Windows; macOS keeps to no such limit
        return


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
