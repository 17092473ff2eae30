"""The pytest plugin: hand every law the module it judges, and report what was seen.

A law is an ordinary test function with an argument named like its concept. The plugin
parametrizes that argument over implementations: the reference, and the reference with each
mistake made that names the law, which then must fail by an assertion (a strict xfail).
"""

import functools
import importlib
import linecache
import re
import textwrap
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis.errors import UnsatisfiedAssumption
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from litspec import report as reports
from litspec.check import check_concept
from litspec.pages import Concept, Law, Mistake, Project
from litspec.report import Result

FAILING = re.compile(
    r"(?:Fail\w+|Falsifying) (?:test case|explicit example|example): \w+\(\n(?P<arguments>.*?)^\)",
    re.DOTALL | re.MULTILINE,
)
DRAWN = re.compile(r"^Draw \d+(?: \((?P<label>.*?)\))?: (?P<value>.*)", re.DOTALL)
STAND_IN = "data(...)"  # how Hypothesis shows an argument that draws later


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the law suite."""
    parser.addoption("--laws-report", default=None, help="where to write the report of the laws")


def pytest_configure(config: pytest.Config) -> None:
    """Serve the project that pytest was started in, if it is written this way."""
    try:
        project = Project.find(config.rootpath)
    except ValueError:
        return
    config.pluginmanager.register(Laws(config, project), "litspec-laws")


def implementations(concept: Concept, law: Law) -> Iterator[Any]:
    """Yield the modules a law judges, as pytest parameters."""
    yield pytest.param(importlib.import_module(concept.import_name), id="reference")
    for mistake in concept.page.mistakes:
        if law.id in mistake.caught_by:
            module: ModuleType | ValueError
            try:
                module = make_mistake(concept, mistake)
            except ValueError as error:
                module = error  # one bad diff must not hide the outcome of all other laws
            yield pytest.param(
                module,
                id=f"mistake:{mistake.name}",
                marks=pytest.mark.xfail(strict=True, raises=AssertionError),
            )


def make_mistake(concept: Concept, mistake: Mistake) -> ModuleType:
    """Return the concept's module with a mistake made in its source.

    Raises:
        ValueError: If the diff does not fit, or the module no longer imports.
    """
    name = f"<{mistake.id}>"
    try:
        source = mistake.apply(concept.module.read_text(encoding="utf-8"))
        module = ModuleType(concept.import_name, mistake.story)
        module.__file__ = str(concept.module)
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        raise ValueError(f"{concept.page.file}:{mistake.line}: {mistake.id}: {error}") from error
    return module


class Laws:
    """One run of a project's laws."""

    def __init__(self, config: pytest.Config, project: Project) -> None:
        self.project = project
        self.report_file = Path(config.getoption("--laws-report") or reports.path(project))
        self.concepts = {concept.law_file: concept for concept in project.concepts.values()}
        self.results: dict[str, list[Result]] = {}
        self.examples = 0
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
            metafunc.parametrize(concept.name, list(implementations(concept, law)))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail the laws whose mistake could not be made."""
        for value in item.callspec.params.values() if hasattr(item, "callspec") else ():
            if isinstance(value, ValueError):
                pytest.fail(str(value), pytrace=False)

    def law(self, file: Path, function: str) -> tuple[Any, Law | None]:
        """Return the concept of a law file and the law that a function of it proves."""
        concept = self.concepts.get(file)
        laws = concept.page.laws if concept else ()
        return concept, next((law for law in laws if law.property == function), None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Count the examples that Hypothesis tries."""
        self.examples = 0
        handle = getattr(getattr(item, "obj", None), "hypothesis", None)
        if handle is None:
            self.examples = 1
            return (yield)
        inner = handle.inner_test

        @functools.wraps(inner)
        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                self.examples += 1
                return inner(*args, **kwargs)
            except UnsatisfiedAssumption:
                self.examples -= 1
                raise

        handle.inner_test = counted
        try:
            return (yield)
        finally:
            handle.inner_test = inner

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
        result = Result(
            law=law.name,
            implementation=implementation,
            outcome=judge(outcome, call, implementation),
            examples=self.examples,
            seconds=round(outcome.duration, 3),
        )
        if call.excinfo:
            result["counterexample"] = counterexample(call.excinfo.value, concept.name)
            result["error"] = "\n".join(str(call.excinfo.value).strip().splitlines()[:8])
        self.results.setdefault(concept.path, []).append(result)
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

    def findings(self) -> list[str]:
        """Return what is wrong in the binding of the concepts whose laws ran."""
        return [
            f"{finding.file}:{finding.line}: {finding.message}"
            for path in self.results
            for finding in check_concept(self.project, self.project.concepts[path])
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and fail where page, module and law file do not agree."""
        if self.results:
            reports.update(self.report_file, self.project, self.results)
        if self.findings() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many laws held and how many mistakes were caught."""
        for finding in self.findings():
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


def judge(outcome: pytest.TestReport, call: pytest.CallInfo[None], implementation: str) -> str:
    """Return the word for what happened."""
    if not implementation.startswith("mistake:"):
        return "passed" if outcome.passed else "failed"
    if call.excinfo is None:
        return "survived"
    return "caught" if outcome.skipped else "crashed"


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
