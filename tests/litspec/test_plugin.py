"""The suite that a book runs: what passes, what fails, and what it says."""

import json

import pytest

from litspec import report as reports
from litspec.cli import app
from litspec.pages import Project

PAGE, MODULE, LAWS = (
    "docs/arithmetic/double.md",
    "src/toy/arithmetic/double.py",
    "tests/arithmetic/test_double.py",
)


def results(book, concept="arithmetic/double"):
    entry = json.loads((book.root / "build/laws.json").read_text())["concepts"][concept]
    return {(one["law"], one["implementation"]): one for one in entry["results"]}


def test_laws_hold_mistakes_are_caught_and_examples_run(book, run):
    run("tests", "docs").assert_outcomes(passed=2 + 2, xfailed=2)


def test_an_example_that_runs_alone_knows_what_the_page_named_before(book, run):
    more = "```python\n>>> double(3)\n6\n```\n\n## Laws"
    book.edit("docs/arithmetic/double.md", "## Laws", more)
    page = (book.root / "docs/arithmetic/double.md").read_text()
    line = page[: page.index(">>> double(3)")].count("\n") + 1
    run(f"docs/arithmetic/double.md::line:{line},column:1").assert_outcomes(passed=1)


def test_the_report_holds_outcome_examples_duration_and_counterexample(book, run):
    run("tests")
    seen = results(book)
    assert seen["is-even", "reference"]["outcome"] == "passed"
    assert seen["is-even", "reference"]["examples"] == 20
    assert seen["is-even", "reference"]["seconds"] >= 0
    assert seen["is-even", "mistake:plus-one"]["outcome"] == "caught"
    assert seen["is-even", "mistake:plus-one"]["counterexample"] == "number=0"
    assert "accepted a text" in seen["rejects-text", "mistake:unchecked"]["error"]


def test_a_mistake_that_no_law_notices_fails(book, run):
    book.edit(PAGE, "+    return 2 * number + 1", "+    return number * 4")
    result = run("tests")
    result.assert_outcomes(passed=2, xfailed=1, failed=1)
    assert results(book)["is-even", "mistake:plus-one"]["outcome"] == "survived"
    result.stdout.fnmatch_lines(
        ["the law holds on this mistake: the law is too weak, or *harmless"]
    )
    result.stdout.no_fnmatch_line("*XPASS*")


def test_a_mistake_that_only_crashes_fails(book, run):
    book.edit(PAGE, "+    return 2 * number + 1", "+    return undefined")
    run("tests").assert_outcomes(passed=2, xfailed=1, failed=1)
    assert results(book)["is-even", "mistake:plus-one"]["outcome"] == "crashed"


def test_a_reference_that_is_not_written_fails(book, run):
    book.edit(MODULE, "    return 2 * number", "    raise NotImplementedError")
    run("tests", "-k", "is_even and reference").assert_outcomes(failed=1)
    assert results(book)["is-even", "reference"]["outcome"] == "crashed"


def test_a_mistake_that_does_not_apply_fails_alone(book, run):
    book.edit(PAGE, "-    return 2 * number", "-    return 3 * number")
    result = run("tests")
    result.assert_outcomes(passed=2, xfailed=1, errors=1)
    result.stdout.fnmatch_lines(["*double.plus-one: the diff fits 0 places, not one*"])


def test_a_mistake_that_does_not_import_fails_alone(book, run):
    book.edit(PAGE, "+    return 2 * number + 1", "+    return (")
    run("tests").assert_outcomes(passed=2, xfailed=1, errors=1)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (LAWS, "test_rejects_text", "test_text"),
        (PAGE, "/// law | double.rejects-text", "/// law | double.refuses-text"),
    ],
)
def test_the_suite_fails_where_page_and_law_file_disagree(book, run, name, old, new):
    book.edit(name, old, new)
    assert run("tests", "-k", "is_even").ret == pytest.ExitCode.TESTS_FAILED


def test_a_failing_law_says_what_where_why_and_how_to_see_it_again(book, run):
    book.edit(MODULE, "    return 2 * number", "    return 3 * number")
    result = run("tests", "-k", "is_even and reference")
    result.stdout.fnmatch_lines(
        [
            "double.is-even: The double of a number is even.",
            "page       docs/arithmetic/double.md:13",
            "outcome    failed on reference",
            "fails for  number=1",
            'again      pytest "tests/arithmetic/test_double.py::test_is_even?reference?"',
        ]
    )


def why(book):
    project = Project.find(book.root)
    report = reports.read(reports.path(project))
    return reports.stale(project, project.concepts["arithmetic/double"], report)


def test_a_report_is_fresh_until_a_file_changes(book, run):
    assert "not been run" in why(book)
    assert app.cli(args=["check", "--report"]) == 1
    run("tests")
    assert why(book) == ""
    assert app.cli(args=["check", "--report"]) == 0
    changes = [("page", PAGE, "number + 1"), ("module", MODULE, "number"), ("laws", LAWS, "import")]
    for kind, name, words in changes:
        text = (book.root / name).read_text()
        (book.root / name).write_text(text.replace(words, words + " "))
        assert why(book) == f"its {kind} changed since its laws were run"
        (book.root / name).write_text(text)
    assert why(book) == ""


def test_a_changed_import_or_helper_makes_the_report_stale(book, run):
    (book.root / "src/toy/twice.py").write_text("TWO = 2\n")
    (book.root / "src/toy/middle.py").write_text("from toy.twice import TWO\n")
    book.edit(MODULE, '"""Doubling."""\n', '"""Doubling."""\n\nfrom toy.middle import TWO\n')
    (book.root / "tests/drawn.py").write_text("MOST = 9\n")
    book.edit(
        LAWS, "from hypothesis import strategies", "import drawn\nfrom hypothesis import strategies"
    )
    (book.root / "tests/conftest.py").write_text("")
    book.edit("pyproject.toml", 'pythonpath = ["src"]', 'pythonpath = ["src", "tests"]')
    run("tests").assert_outcomes(passed=2, xfailed=2)
    assert why(book) == ""
    changes = [
        ("imports", "src/toy/twice.py"),
        ("imports", "src/toy/middle.py"),
        ("helpers", "tests/drawn.py"),
        ("helpers", "tests/conftest.py"),
    ]
    for kind, name in changes:
        text = (book.root / name).read_text()
        (book.root / name).write_text(text + "\n")
        assert why(book) == f"its {kind} changed since its laws were run"
        (book.root / name).write_text(text)


def test_what_is_said_of_laws_and_mistakes_is_part_of_a_report_and_not_where(book, run):
    run("tests")
    page = book.root / PAGE
    text = page.read_text()
    laws, mistakes = text.index("## Laws"), text.index("## Mistakes")
    page.write_text(f"{text[:laws]}Words.\n\n{text[mistakes:]}\n\n{text[laws:mistakes]}")
    assert why(book) == ""
    for old in ("One too many.", "is even.", "is a `TypeError`.", "caught-by: double.rejects-text"):
        changed = "caught-by: double.is-even" if old.startswith("caught") else old[:-1] + "!"
        page.write_text(text.replace(old, changed))
        assert why(book) == "its page changed since its laws were run"
    page.write_text(text)
    assert why(book) == ""


@pytest.mark.parametrize("options", [("--yours=arithmetic/double=mine.py",), ("--peers",)])
def test_a_run_on_other_code_leaves_the_report_as_it_is(book, run, options):
    run("tests")
    before = (book.root / "build/laws.json").read_bytes()
    (book.root / "mine.py").write_text("def double(number): return 3\n")
    adapter = book.root / "tests/peers/other/arithmetic/double.py"
    adapter.parent.mkdir(parents=True)
    adapter.write_text("def double(number): return 3\n")
    run("tests", *options)
    assert (book.root / "build/laws.json").read_bytes() == before


def test_a_skipped_law_fails_and_is_recorded_as_skipped(book, run):
    book.edit(
        LAWS,
        "def test_rejects_text(double):\n",
        "def test_rejects_text(double):\n    import pytest; pytest.skip('not today')\n",
    )
    run("tests").assert_outcomes(passed=1, xfailed=1, failed=2)
    assert results(book)["rejects-text", "reference"]["outcome"] == "skipped"
    assert why(book) == "double.rejects-text on reference: skipped"


def test_a_module_that_cannot_be_loaded_is_told_on_several_processes_too(book, run):
    (book.root / "mine.py").write_text("def double(\n")
    for options in ((), ("-n", "2")):
        run("tests", "--yours=arithmetic/double=mine.py", "--laws-report=seen.json", *options)
        [one, other] = json.loads((book.root / "seen.json").read_text())["results"][
            "arithmetic/double"
        ]
        assert "was never closed" in one["load"]
        assert one["load"] == other["load"]


def test_what_processes_send_to_each_other_is_the_same(book, run):
    book.edit(PAGE, "+    return 2 * number + 1", "+    return number * 4")  # one survives

    def seen(*options):
        run("tests", *options)
        return {
            pair: {name: value for name, value in one.items() if name != "seconds"}
            for pair, one in results(book).items()
        }

    alone = seen()
    (book.root / "build/laws.json").unlink()
    assert seen("-n", "2") == alone


def test_a_run_of_one_law_joins_the_report_but_never_hides_a_change(book, run):
    run("tests")
    run("tests", "-k", "is_even")
    assert why(book) == ""
    (book.root / MODULE).write_text((book.root / MODULE).read_text() + "\n")
    run("tests", "-k", "is_even")
    assert why(book) == "double.rejects-text on reference: not run"


def test_a_failing_law_keeps_the_report_from_being_good(book, run):
    book.edit(MODULE, "    return 2 * number", "    return 2 * number + number % 2")
    book.edit(PAGE, "-    return 2 * number", "-    return 2 * number + number % 2")
    run("tests")
    assert why(book) == "double.is-even on reference: failed"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"concepts": {}}'])
def test_a_broken_report_is_a_stale_one(book, content):
    (book.root / "build").mkdir()
    (book.root / "build/laws.json").write_text(content)
    assert "not been run" in why(book)


def test_a_difference_is_told_in_ci_as_anywhere_and_long_ones_in_short(book, run, monkeypatch):
    """Item by item, as pytest compares in CI and under -v, this would take hours."""
    book.edit(LAWS, "double.double(number) % 2 == 0", "[*range(70000)] == [*range(70000)][::-1]")
    told = []
    for ci, flags in ((None, ()), ("true", ()), (None, ("-vv",))):
        monkeypatch.setenv("CI", ci) if ci else monkeypatch.delenv("CI", raising=False)
        run("tests", *flags)
        told.append(results(book)["is-even", "reference"]["error"])
    assert "At index 0 diff: 0 != 69999" in told[0]
    assert told[0] == told[1]
    assert len(told[2].splitlines()) < 10
