"""The pytest plugin: hand every law the module it judges, and report what was seen.

A law is an ordinary test function with an argument named like its concept. The plugin
parametrizes that argument over implementations: the reference, and the reference with each
mistake made that names the law, which then must fail by an assertion (a strict xfail).
"""

import doctest
import functools
import json
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from unittest.mock import patch

import pytest
from sybil import Document, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser

from litspec import modes
from litspec import report as reports
from litspec.check import check_concept
from litspec.diagnosis import own_laws, suspects
from litspec.examples import (
    REFUSED,
    TimeLimitError,
    Watch,
    as_drawn,
    counterexample,
    is_long,
    limit_memory,
    time_limit,
)
from litspec.implementations import Implementation
from litspec.modes import Mode
from litspec.outcomes import MISSING, Kind, Outcome, Trial, classify
from litspec.pages import Concept, Law, LawKind, Project
from litspec.report import Result
from litspec.witness import witness

TOLD = 3  # broken laws of foreign code whose smallest example is looked for
KEY = "litspec"  # of the properties that carry results
SURVIVED = {
    True: "the law holds on this mistake: the law is too weak, or the mistake harmless",
    False: "the deviation is claimed, but the law holds",
}
TRIAL = pytest.StashKey[Trial]()
WATCH = pytest.StashKey[Watch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the law suite."""
    group = parser.getgroup("litspec", "laws")
    group.addoption("--laws-report", default=None, help="where to write the report of the laws")
    group.addoption("--reference", action="store_true", help="judge no mistakes")
    group.addoption(
        "--peers", metavar="PEER", nargs="?", const="all", help="judge tests/peers instead, or one"
    )
    group.addoption(
        "--yours", metavar="CONCEPT=FILE", action="append", help="judge this code instead"
    )
    group.addoption(
        "--explain", action="store_true", help="with --yours: see which mistakes fall alike"
    )
    group.addoption("--law-seconds", type=float, default=0, help="time limit of each law")


class Hooks:
    """What a project may add."""

    @pytest.hookspec(firstresult=True)
    def pytest_litspec_alike(self, module: ModuleType) -> AbstractContextManager[None] | None:
        """Return a context in which an implementation draws at random as all others do.

        Implementations are compared by the numbers that they compute. What they make of a seed
        depends on the order in which they draw, which is no difference to tell of.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what a project may add."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Serve the project that pytest was started in, if it is written this way."""
    try:
        project = Project.find(config.rootpath)
    except ValueError:
        return
    config.pluginmanager.register(Laws(config, project), "litspec-laws")


def mode(config: pytest.Config, project: Project) -> Mode:
    """Return the mode that the options ask for, or a plugin that holds code in memory."""
    for plugin in config.pluginmanager.get_plugins():
        if isinstance(held := getattr(plugin, "litspec_mode", None), Mode):
            return held
    options = config.option
    if options.yours:
        limit_memory()
        return modes.yours(options.yours, seconds=options.law_seconds, explain=options.explain)
    if options.peers:
        try:
            return modes.peers(project, options.peers)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    return modes.reference() if options.reference else modes.book(project)


class Laws:
    """One run of a project's laws."""

    def __init__(self, config: pytest.Config, project: Project) -> None:
        self.project = project
        self.mode = mode(config, project)
        self.seconds: float = config.option.law_seconds
        asked = config.option.laws_report
        self.report_file = Path(asked) if asked else self.mode.record
        self.concepts = {concept.law_file: concept for concept in project.concepts.values()}
        self.results: dict[str, list[Result]] = {}
        self.judged: dict[object, Implementation] = {}
        self.suspects: dict[str, tuple[int, set[Trial]]] = {}  # by how many results there were
        self.ran: dict[Document, set[int]] = {}  # which examples of a page ran in this process
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
            parameters = [self.parameter(one) for one in self.mode.judged(concept, law)]
            # By the default scope Hypothesis would take a concept that is named like a fixture of
            # pytest (cache) for that fixture, made anew for each law and not for each example.
            metafunc.parametrize(concept.name, parameters, scope="module")

    def parameter(self, one: Implementation) -> Any:
        """Return an implementation as pytest wants it; what must fail is a strict xfail."""
        marks: tuple[pytest.MarkDecorator, ...] = ()
        if one.expected and not self.mode.explain:
            # A mistake is caught by an assertion; a peer may deviate by an error of its own.
            kind = AssertionError if one.kind is Kind.MISTAKE else Exception
            marks = (pytest.mark.xfail(strict=True, raises=kind, reason=one.expected.reason),)
        value = one.module or one
        self.judged[value] = one
        return pytest.param(value, id=one.name, marks=marks)

    def law(self, file: Path, function: str) -> tuple[Any, Law | None]:
        """Return the concept of a law file and the law that a function of it proves."""
        concept = self.concepts.get(file)
        laws = concept.page.laws if concept else ()
        return concept, next((law for law in laws if law.property == function), None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Note which trial an item is; leave out what has nothing to say of foreign code."""
        for item in items:
            concept, law = self.law(item.path, getattr(item, "originalname", None) or "")
            if law and isinstance(item, pytest.Function):
                one = self.implementation(concept, item)
                if one:
                    expected = None if self.mode.explain else one.expected
                    item.stash[TRIAL] = Trial(concept.path, law.name, one.kind, one.name, expected)
                    brief = one.kind is Kind.MISTAKE and not config.getoption("runxfail")
                    if brief or self.mode.explain:
                        self.briefly(item)
        if not self.mode.whole:
            apart = [item for item in items if TRIAL not in item.stash]
            config.hook.pytest_deselected(items=apart)
            items[:] = [item for item in items if TRIAL in item.stash]
            items.sort(key=lambda item: self.turn(item.stash[TRIAL]))

    def briefly(self, item: pytest.Item) -> None:
        """Say in a line how a law fails where nobody reads the traceback.

        That is where a mistake fails, as it should, and where a verdict tells of code. Hypothesis
        asks for the traceback twice and pytest once, and each parses the source of every frame,
        which takes a fifth of the whole suite's time.
        """
        whole = item.repr_failure

        def brief(excinfo: pytest.ExceptionInfo[BaseException], *style: Any, **more: Any) -> Any:
            caught = isinstance(excinfo.value, AssertionError)
            return (
                str(excinfo.value)
                if caught or self.mode.explain
                else whole(excinfo, *style, **more)
            )

        setattr(item, "repr_failure", brief)  # noqa: B010  # a method, for mypy

    def turn(self, trial: Trial) -> tuple[str, int, int, int]:
        """Return when a trial has its turn: foreign code first, in the order in which it is told.

        Which mistakes are worth a look is known when foreign code was judged, and whether they
        are worth another when they were put to their own laws.
        """
        page = self.project.concepts[trial.concept].page
        if trial.kind is not Kind.MISTAKE:
            at = [law.name for law in page.laws].index(trial.law)
            return trial.concept, 0, list(LawKind).index(page.laws[at].kind), at
        mistake = next(one for one in page.mistakes if trial.name == f"mistake:{one.name}")
        return trial.concept, 1, trial.law not in own_laws(mistake), 0

    def implementation(self, concept: Concept, item: pytest.Function) -> Implementation | None:
        """Return what an item judges; a law without the argument speaks of the reference."""
        if not hasattr(item, "callspec"):
            return Implementation(Kind.REFERENCE, "reference", None) if self.mode.whole else None
        return self.judged.get(item.callspec.params.get(concept.name))

    def catch_up(self, item: SybilItem) -> None:
        """Run the examples of a page before this one that another process has, or nobody asked for.

        What they name, this one may use. Whether they fail is said where it is their turn.
        """
        page = item.example.document
        ran = self.ran.setdefault(page, set())
        for example in page.examples():
            if example.start < item.example.start and example.start not in ran:
                ran.add(example.start)
                with suppress(Exception):
                    example.evaluate()
        ran.add(item.example.start)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail the laws whose implementation could not be loaded."""
        if isinstance(item, SybilItem):
            self.catch_up(item)
        for value in item.callspec.params.values() if hasattr(item, "callspec") else ():
            if isinstance(value, Implementation):
                pytest.fail(value.problem, pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Watch the examples that Hypothesis tries, within the time limit."""
        trial = item.stash.get(TRIAL, None)
        apart = bool(self.mode.explain and trial and trial.kind is Kind.MISTAKE)
        ours = self.ours if self.mode.foreign else None
        past = self.passed_over(trial) if apart and trial else ()
        refusals = sys.maxsize if trial and trial.kind is Kind.PEER else REFUSED
        watch = item.stash[WATCH] = Watch(apart, ours, past, refusals)
        alike = self.alike(item) if apart else nullcontext()
        property, file = getattr(item, "obj", None), str(item.path)
        quick = as_drawn(property) if trial and self.told_enough(trial) else nullcontext()
        stop = time_limit(self.seconds)
        try:
            with warnings.catch_warnings(), stop, watch.over(property, file), alike, quick:
                if self.mode.foreign:  # what other code warns of is its own affair
                    warnings.simplefilter("ignore")
                return (yield)
        except (Exception, TimeLimitError) as error:
            # Once more, through all examples.
            if self.mode.explain and not (apart or isinstance(error, MISSING)):
                further = item.stash[WATCH] = Watch(go_on=True, ours=ours)
                with (
                    suppress(Exception, TimeLimitError),
                    time_limit(self.seconds),
                    further.over(property, file),
                    self.alike(item),
                    as_drawn(property),
                ):
                    item.runtest()
            raise

    def passed_over(self, trial: Trial) -> list[str]:
        """Return the examples of a law that the one foreign implementation does not offer."""
        seen = [
            one.get("passed", [])
            for one in self.results.get(trial.concept, [])
            if one["law"] == trial.law and Kind(one["kind"]).foreign
        ]
        return seen[0] if len(seen) == 1 else []

    def told_enough(self, trial: Trial) -> bool:
        """Return whether a counterexample need not be made small: another is shown, or enough."""
        if trial.kind is Kind.MISTAKE:
            mistakes = self.project.concepts[trial.concept].page.mistakes
            caught_by = next(
                one.caught_by for one in mistakes if trial.name == f"mistake:{one.name}"
            )
            return caught_by[0].partition(".")[2] != trial.law
        seen = self.results.get(trial.concept, [])
        broken = [one for one in seen if one["outcome"] in (Outcome.FAILED, Outcome.CRASHED)]
        return trial.kind is Kind.YOURS and len(broken) >= TOLD

    def ours(self, file: str) -> bool:
        """Return whether a file belongs to the laws, and not to code on trial."""
        place = Path(file)
        return place.is_relative_to(self.project.tests) and not place.is_relative_to(
            self.project.tests / "peers"
        )

    @staticmethod
    def alike(item: pytest.Item) -> AbstractContextManager[None]:
        """Return the context in which implementations are compared."""
        values = item.callspec.params.values() if isinstance(item, pytest.Function) else ()
        module = next((one for one in values if isinstance(one, ModuleType)), None)
        found = item.config.hook.pytest_litspec_alike(module=module) if module else None
        return found or nullcontext()

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Pass by a mistake that cannot be what foreign code broke this law with."""
        trial = item.stash.get(TRIAL, None)
        if self.mode.explain and trial and trial.kind is Kind.MISTAKE:
            concept = self.project.concepts[trial.concept]
            seen = self.results.get(trial.concept, [])
            count, known = self.suspects.get(trial.concept, (-1, set()))
            if count != len(seen):
                known = suspects(concept, seen)
                self.suspects[trial.concept] = len(seen), known
            return True if trial not in known else None
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record a trial's outcome; when it fails, say which law and how to see it again."""
        report = yield
        trial = item.stash.get(TRIAL, None)
        loaded = call.when == "setup" and report.failed
        if trial is None or not (call.when == "call" or loaded):
            return report
        watch = item.stash.get(WATCH, Watch())
        error = call.excinfo.value if call.excinfo else None
        skipped = isinstance(error, pytest.skip.Exception)
        outcome = classify(trial, error, skipped=skipped, largest=watch.largest)
        if outcome is Outcome.NOT_OFFERED:
            report.outcome, report.wasxfail = "skipped", str(error)
        elif (
            outcome in (Outcome.SKIPPED, Outcome.SURVIVED)
            or (report.skipped and trial.expected and not outcome.good)
        ):  # fmt: skip
            self.refuse(report, trial, outcome, error)
        result = self.result(trial, outcome, watch, error)
        result["seconds"] = round(report.duration, 3)
        if loaded:
            result["load"] = str(error)
        report.user_properties.append((KEY, (trial.concept, result)))
        if report.failed:
            report.sections.append(self.told(item, trial, result))
        return report

    @staticmethod
    def refuse(
        report: pytest.TestReport, trial: Trial, outcome: Outcome, error: BaseException | None
    ) -> None:
        """Fail an item that pytest would let pass: a skipped law, a deviation of another kind."""
        report.outcome = "failed"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
        if outcome is Outcome.SKIPPED:
            report.longrepr = "a law is not skipped: what it cannot judge it does not draw"
        elif outcome is Outcome.SURVIVED:
            report.longrepr = SURVIVED[trial.kind is Kind.MISTAKE]
        elif trial.expected:
            wanted = trial.expected.shows or f"differences of at most {trial.expected.most:g}"
            report.longrepr = f"deviates, but not as declared ({wanted!r}): {error}"

    def result(
        self, trial: Trial, outcome: Outcome, watch: Watch, error: BaseException | None
    ) -> Result:
        """Return what is written down of a trial."""
        result = Result(
            law=trial.law,
            kind=trial.kind.value,  # plain text: pytest-xdist sends nothing else
            implementation=trial.name,
            outcome=outcome.value,
            examples=len(watch.falls) or 1,
        )
        if error is not None:
            name = self.project.concepts[trial.concept].name
            result["counterexample"] = counterexample(error, name)
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            text = f"{kind}{error}".replace(f"{self.project.root}/", "")
            result["error"] = "\n".join(text.strip().splitlines()[:8])
            law_file = str(self.project.concepts[trial.concept].law_file)
            if outcome is Outcome.CAUGHT and (told := witness(error, law_file)):
                result["expected"], result["got"] = told
        if outcome is Outcome.DEVIATES and trial.expected:
            result["reason"] = trial.expected.reason
        if watch.largest is not None:
            result["largest"] = watch.largest
        if watch.lacks:
            result["lacks"] = dict(watch.lacks)
            if self.mode.explain:
                result["passed"] = sorted(watch.passed)
        if self.mode.explain:
            result["falls"] = [one and list(one) for one in watch.falls]
        return result

    def told(self, item: pytest.Item, trial: Trial, result: Result) -> tuple[str, str]:
        """Return what a failing law says below its traceback."""
        page = self.project.concepts[trial.concept].page
        law = next(law for law in page.laws if law.name == trial.law)
        lines = [
            f"{law.id}: {law.statement}",
            f"page       {page.file.relative_to(self.project.root)}:{law.line}",
            f"outcome    {result['outcome']} on {trial.name}",
            f"fails for  {result.get('counterexample', '')}".replace("\n", "\n" + " " * 11),
            f'again      pytest "{item.nodeid}"',
        ]
        return f"law {law.id}", "\n".join(lines)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect results, also those that pytest-xdist's workers send to the main process."""
        for key, value in report.user_properties:
            if key == KEY:
                path, result = cast("tuple[str, Result]", value)
                self.results.setdefault(path, []).append(result)

    def findings(self) -> list[str]:
        """Return what is wrong in the binding of the concepts whose laws ran."""
        if not (self.mode.whole and self.mode.record):
            return []
        return [
            f"{self.project.relative(finding.file)}:{finding.line}: {finding.message}"
            for path in self.results
            for finding in check_concept(self.project, self.project.concepts[path])
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and fail where page, module and law file do not agree."""
        if hasattr(session.config, "workerinput"):
            return  # the main process has all results
        if self.report_file and self.mode.record:
            if self.results:
                reports.update(self.report_file, self.project, self.results)
        elif self.report_file:
            content = json.dumps({"results": self.results})
            self.report_file.write_text(content, encoding="utf-8")
        if self.findings() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many laws held and how many mistakes were caught."""
        for finding in self.findings():
            terminalreporter.write_line(finding, red=True)
        seen = [(path, one) for path, results in self.results.items() for one in results]
        if seen:
            held = sum(one["outcome"] == Outcome.PASSED for _, one in seen)
            caught = {
                (path, one["implementation"])
                for path, one in seen
                if one["outcome"] == Outcome.CAUGHT
            }
            where = f", report in {self.report_file}" if self.report_file else ""
            terminalreporter.write_line(f"{held} laws hold, {len(caught)} mistakes caught{where}")


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare(
    config: pytest.Config, left: object, right: object
) -> Generator[None, list[str] | None, list[str] | None]:
    """Tell a difference in CI as anywhere else, and that of long values in a line.

    In CI, and under -v, pytest compares line by line, which takes hours for 70,000 numbers.
    """
    with patch.dict(os.environ), patch.object(config.option, "verbose", config.option.verbose):
        for name in ("CI", "BUILD_NUMBER"):
            os.environ.pop(name, None)
        if is_long(left) or is_long(right):
            config.option.verbose = 0
        return (yield)


def config_flags(config: pytest.Config) -> int:
    """Return the doctest options of the project, so that pages and docstrings follow the same."""
    names: list[str] = config.getini("doctest_optionflags")
    return functools.reduce(lambda flags, name: flags | doctest.OPTIONFLAGS_BY_NAME[name], names, 0)
