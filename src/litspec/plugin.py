"""The pytest plugin: hand every law the module it judges, and report what was seen.

A law is an ordinary test function with an argument named like its concept. The plugin
parametrizes that argument over implementations: the reference, and the reference with each
mistake made that names the law, which then must fail by an assertion (a strict xfail).
"""

import functools
import json
import re
import signal
import textwrap
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import reject
from hypothesis.errors import FailedHealthCheck, Unsatisfiable, UnsatisfiedAssumption
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from litspec import implementations
from litspec import report as reports
from litspec.check import check_concept
from litspec.implementations import Implementation
from litspec.pages import Concept, Law, Project
from litspec.report import Result

FAILING = re.compile(
    r"(?:Fail\w+|Falsifying) (?:test case|explicit example|example): \w+\(\n(?P<arguments>.*?)^\)",
    re.DOTALL | re.MULTILINE,
)
DRAWN = re.compile(r"^Draw \d+(?: \((?P<label>.*?)\))?: (?P<value>.*)", re.DOTALL)
ENOUGH = 15  # examples of a law, to tell how it falls
MISSING = (NotImplementedError, Unsatisfiable, FailedHealthCheck)  # nothing to be judged
KEY = "litspec"  # of the properties that carry results
STAND_IN = "data(...)"  # how Hypothesis shows an argument that draws later


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the law suite."""
    group = parser.getgroup("litspec", "laws")
    group.addoption("--laws-report", default=None, help="where to write the report of the laws")
    group.addoption("--reference", action="store_true", help="judge no mistakes")
    group.addoption("--peers", action="store_true", help="judge the peers in tests/peers instead")
    group.addoption(
        "--yours", metavar="CONCEPT=FILE", action="append", help="judge this code instead"
    )
    group.addoption(
        "--signatures", action="store_true", help="note which examples each mistake falls on"
    )
    group.addoption("--law-seconds", type=float, default=0, help="time limit of each law")


def pytest_configure(config: pytest.Config) -> None:
    """Serve the project that pytest was started in, if it is written this way."""
    try:
        project = Project.find(config.rootpath)
    except ValueError:
        return
    config.pluginmanager.register(Laws(config, project), "litspec-laws")


class Laws:
    """One run of a project's laws."""

    def __init__(self, config: pytest.Config, project: Project) -> None:
        self.project = project
        self.options = config.option
        self.report_file = Path(self.options.laws_report or reports.path(project))
        self.yours: defaultdict[str, list[str]] = defaultdict(list)
        for pair in self.options.yours or ():
            path, _, target = pair.partition("=")
            self.yours[path].append(target)
        self.concepts = {concept.law_file: concept for concept in project.concepts.values()}
        self.results: dict[str, list[Result]] = {}
        self.loaded: dict[tuple[str, str], Implementation] = {}
        self.examples = 0
        self.signatures: defaultdict[str, dict[str, dict[str, str]]] = defaultdict(dict)
        self.collect_examples = Sybil(
            [PythonCodeBlockParser(doctest_optionflags=config_flags(config))],
            patterns=["*.md"],
            path=str(project.docs),
        ).pytest()

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Any:
        """Collect the examples on the pages."""
        return self.collect_examples(file_path, parent)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a law its implementations."""
        concept, law = self.law(Path(metafunc.module.__file__ or ""), metafunc.function.__name__)
        if law and concept.name in metafunc.fixturenames:
            parameters = [self.parameter(one) for one in self.implementations(concept, law)]
            # By the default scope Hypothesis would take a concept that is named like a fixture of
            # pytest (cache) for that fixture, made anew for each law and not for each example.
            metafunc.parametrize(concept.name, parameters, scope="module")

    def implementations(self, concept: Concept, law: Law) -> Iterator[Implementation]:
        """Yield what a law is to judge in this run."""
        if self.options.signatures and not self.yours:
            yield from implementations.mistakes(concept)
        elif self.options.peers:
            yield from implementations.peers(self.project, concept, law)
        elif self.yours:
            for target in self.yours[concept.path]:
                if (concept.path, target) not in self.loaded:
                    self.loaded[concept.path, target] = self.load_yours(concept, target)
                yield self.loaded[concept.path, target]
        else:
            yield implementations.reference(concept)
            if not self.options.reference:
                yield from implementations.mistakes(concept, law)

    def load_yours(self, concept: Concept, target: str) -> Implementation:
        """Return a reader's own module, or why it could not be loaded in time."""
        several = len(self.yours[concept.path]) > 1
        name = f"yours:{Path(target).stem}" if several else "yours"
        try:
            with time_limit(self.options.law_seconds):
                return Implementation(name, implementations.yours(target, f"{name}.{concept.name}"))
        except TimeLimitError as error:
            return Implementation(name, ValueError(f"{target}, on import: {error}"))

    def parameter(self, one: Implementation) -> Any:
        """Return an implementation as pytest wants it; what must fail is a strict xfail."""
        marks: tuple[pytest.MarkDecorator, ...] = ()
        if one.must_fail and not self.options.signatures:
            # A mistake is caught by an assertion; a peer may deviate by an error of its own.
            kind = AssertionError if one.name.startswith("mistake:") else Exception
            marks = (pytest.mark.xfail(strict=True, raises=kind, reason=one.must_fail),)
        return pytest.param(one.module, id=one.name, marks=marks)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out what has nothing to say of peers or of a reader's own code."""
        if self.options.peers or self.yours or self.options.signatures:
            judged = [
                item
                for item in items
                if self.law(item.path, getattr(item, "originalname", ""))[1]
                and "NOTSET" not in item.name
            ]
            config.hook.pytest_deselected(items=[item for item in items if item not in judged])
            items[:] = judged

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail the laws whose implementation could not be loaded."""
        for value in item.callspec.params.values() if hasattr(item, "callspec") else ():
            if isinstance(value, ValueError):
                concept, law = self.law(item.path, getattr(item, "originalname", ""))
                if law and self.yours:
                    failed = Result(law=law.name, outcome="failed", load=str(value))
                    self.results.setdefault(concept.path, []).append(failed)
                pytest.fail(str(value), pytrace=False)

    def law(self, file: Path, function: str) -> tuple[Any, Law | None]:
        """Return the concept of a law file and the law that a function of it proves."""
        concept = self.concepts.get(file)
        laws = concept.page.laws if concept else ()
        return concept, next((law for law in laws if law.property == function), None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Watch the examples that Hypothesis tries, within the time limit."""
        tried: list[str] = []
        handle = getattr(getattr(item, "obj", None), "hypothesis", None)
        inner: Any = handle and handle.inner_test
        if handle:
            handle.inner_test = watched(
                inner, tried, go_on=self.options.signatures, pass_over=self.options.peers
            )
        try:
            with time_limit(self.options.law_seconds):
                return (yield)
        except (Exception, TimeLimitError) as error:
            if not self.options.signatures:
                raise
            if not handle or isinstance(error, TimeLimitError):
                tried.append(fell(error))  # a law without drawn examples is one itself
        finally:
            if handle:
                handle.inner_test = inner
            self.examples = len(tried) or 1
            concept, law = self.law(item.path, getattr(item, "originalname", ""))
            if self.options.signatures and law and isinstance(item, pytest.Function):
                seen = self.signatures[concept.path].setdefault(item.callspec.id, {})
                seen[law.name] = "".join(tried) or "."

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record a law's outcome; when it fails, say which law and how to see it again."""
        outcome = yield
        concept, law = self.law(item.path, getattr(item, "originalname", ""))
        if law is None or call.when != "call" or not isinstance(item, pytest.Function):
            return outcome
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        implementation = item.callspec.id if parameters else "reference"
        theirs = implementation != "reference" and not implementation.startswith("mistake:")
        if theirs and call.excinfo and isinstance(call.excinfo.value, MISSING):
            outcome.outcome, outcome.wasxfail = "skipped", str(call.excinfo.value)
        result = Result(
            law=law.name,
            implementation=implementation,
            outcome=judge(outcome, call, implementation),
            examples=self.examples,
            seconds=round(outcome.duration, 3),
        )
        if call.excinfo:
            result["counterexample"] = counterexample(call.excinfo.value, concept.name)
            error = str(call.excinfo.value).replace(f"{self.project.root}/", "")
            result["error"] = "\n".join(error.strip().splitlines()[:8])
        outcome.user_properties.append((KEY, (concept.path, result)))
        if outcome.failed:
            page = concept.page.file.relative_to(self.project.root)
            lines = [
                f"{law.id}: {law.statement}",
                f"page       {page}:{law.line}",
                f"outcome    {result['outcome']} on {implementation}",
                f"fails for  {result.get('counterexample', '')}".replace("\n", "\n" + " " * 11),
                f'again      pytest "{item.nodeid}"',
            ]
            outcome.sections.append((f"law {law.id}", "\n".join(lines)))
        return outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect results, also those that pytest-xdist's workers send to the main process."""
        for key, value in report.user_properties:
            if key == KEY:
                path, result = cast("tuple[str, Result]", value)
                self.results.setdefault(path, []).append(result)

    def findings(self) -> list[str]:
        """Return what is wrong in the binding of the concepts whose laws ran."""
        return [
            f"{finding.file}:{finding.line}: {finding.message}"
            for path in self.results
            for finding in check_concept(self.project, self.project.concepts[path])
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and fail where page, module and law file do not agree."""
        if hasattr(session.config, "workerinput"):
            return  # the main process has all results
        if self.yours or self.options.signatures:
            content = {"results": self.results, "signatures": self.signatures}
            self.report_file.write_text(json.dumps(content), encoding="utf-8")
        elif self.results and not self.options.reference:
            reports.update(self.report_file, self.project, self.results)
        partial = self.yours or self.options.reference
        if not partial and self.findings() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many laws held and how many mistakes were caught."""
        for finding in () if self.yours or self.options.reference else self.findings():
            terminalreporter.write_line(finding, red=True)
        seen = [result for results in self.results.values() for result in results]
        if seen:
            held = sum(result["outcome"] == "passed" for result in seen)
            caught = {
                (path, result["implementation"])
                for path, results in self.results.items()
                for result in results
                if result["outcome"] == "caught"
            }
            terminalreporter.write_line(
                f"{held} laws hold, {len(caught)} mistakes caught, report in {self.report_file}"
            )


def watched(
    inner: Callable[..., Any], tried: list[str], *, go_on: bool, pass_over: bool
) -> Callable[..., Any]:
    """Return a property that notes how each example went.

    Args:
        inner: The property.
        tried: Receives a letter for each example.
        go_on: Whether to go on where an example fell.
        pass_over: Whether to pass over examples of a kind that is not implemented: a peer is
            judged by what it offers.
    """

    @functools.wraps(inner)
    def property(*args: Any, **kwargs: Any) -> None:
        if go_on and len(tried) >= ENOUGH:
            return
        try:
            inner(*args, **kwargs)
            tried.append(".")
        except UnsatisfiedAssumption:
            raise
        except Exception as error:
            if pass_over and type(error) is NotImplementedError:
                reject()
            unknown = isinstance(error, NotImplementedError)
            tried.append("?" if unknown else fell(error))
            if not go_on:
                raise

    return property


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


def judge(outcome: pytest.TestReport, call: pytest.CallInfo[None], implementation: str) -> str:
    """Return the word for what happened."""
    error = call.excinfo and call.excinfo.value
    assertion = isinstance(error, AssertionError)
    mistake = implementation.startswith("mistake:")
    if isinstance(error, MISSING) and not mistake and implementation != "reference":
        return "not offered"
    if outcome.passed:
        return "passed"
    if outcome.skipped:
        return "caught" if mistake else "deviates"
    if mistake:
        return "survived" if error is None else "crashed"
    return "crashed" if isinstance(error, Exception) and not assertion else "failed"


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


def config_flags(config: pytest.Config) -> int:
    """Return the doctest options of the project, so that pages and docstrings follow the same."""
    import doctest

    names: list[str] = config.getini("doctest_optionflags")
    return functools.reduce(lambda flags, name: flags | doctest.OPTIONFLAGS_BY_NAME[name], names, 0)
