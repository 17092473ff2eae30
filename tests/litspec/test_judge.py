"""A reader's own code before the laws: to do, broken, late, unreadable, and what it resembles."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

from litspec.cli import app
from litspec.exercise import TO_DO, empty

CONCEPT, MODULE = "arithmetic/double", "src/toy/arithmetic/double.py"


@pytest.fixture
def answer(book, capsys):
    """Judge a text as the reader's module; return exit code and what was printed."""
    (book.root / "own").mkdir()

    def judge(text, *options):
        file = book.root / "own" / "mine.py"
        file.write_text(text)
        code = app.cli(args=["judge", CONCEPT, str(file), *options])
        return code, capsys.readouterr().out

    return judge


def test_an_exercise_keeps_all_but_the_bodies(book, capsys):
    assert app.cli(args=["exercise", CONCEPT]) == 0
    text = (book.root / "exercises" / f"{CONCEPT}.py").read_text()
    assert '"""Return twice a number."""' in text
    assert "def double(number):" in text
    assert TO_DO in text
    assert "2 * number" not in text


def test_an_exercise_is_never_overwritten(book):
    app.cli(args=["exercise", CONCEPT])
    with pytest.raises(ValueError, match="there already"):
        app.cli(args=["exercise", CONCEPT])


def test_an_exercise_is_to_do_until_it_is_done(book, capsys):
    app.cli(args=["exercise", CONCEPT])
    file = book.root / "exercises" / f"{CONCEPT}.py"
    assert app.cli(args=["judge", str(file)]) == 1
    out = capsys.readouterr().out
    assert out.count("to do") == 2
    assert "BROKEN" not in out
    file.write_text((book.root / MODULE).read_text())
    assert app.cli(args=["judge", "exercises"]) == 0
    assert "2 of 2 laws hold" in capsys.readouterr().out


def test_a_missing_name_is_to_do(answer):
    code, out = answer("def triple(number): return 3 * number\n")
    assert code == 1
    assert "not offered: double" in out
    assert "BROKEN" not in out


def test_a_file_finds_its_neighbours(book, answer):
    (book.root / "own" / "beside.py").write_text("TWO = 2\n")
    code, out = answer("from beside import TWO\n" + OFFERS_ONE.replace("2 *", "TWO *"))
    assert (code, "2 of 2 laws hold" in out) == (0, True)


def test_an_unwritten_body_is_not_a_finished_exercise(answer):
    more = "def triple(number):\n    raise NotImplementedError\n"
    code, out = answer(OFFERS_ONE + more)
    assert code == 1
    assert "2 of 2 laws hold" in out
    assert "Still to write: triple." in out


def test_a_name_that_is_close_is_proposed(answer):
    _, out = answer("def doubled(number): return 2 * number\n")
    assert "not offered: double (is it doubled?)" in out


SIGNED = """
    @settings(database=None, derandomize=True, max_examples=20)
    @given(st.integers(), st.booleans())
    def test_is_even(double, number, negative):
        options = {"negative": True} if negative else {}
        assert double.double(number, **options) % 2 == 0
"""
OFFERS_ONE = (
    "def double(number):\n    if isinstance(number, str): raise TypeError\n    return 2 * number\n"
)


def test_examples_that_ask_for_more_than_is_offered_are_passed_over(book, answer):
    laws = book.root / "tests/arithmetic/test_double.py"
    text = laws.read_text()
    start, end = text.index("@settings"), text.index("def test_rejects_text")
    laws.write_text(text[:start] + textwrap.dedent(SIGNED) + "\n\n" + text[end:])
    code, out = answer(OFFERS_ONE)
    assert code == 0
    assert re.search(r"holds   is-even +on 20 of \d+ examples; not offered: negative", out)
    code, out = answer(OFFERS_ONE.replace("return 2", "return 3"))
    assert code == 1
    assert "BROKEN  is-even" in out


def test_a_name_that_is_asked_for_in_vain_is_not_asked_for_in_every_example(book, answer):
    laws = book.root / "tests/arithmetic/test_double.py"
    asked = book.root / "asked.txt"
    laws.write_text(
        laws.read_text().replace(
            "assert double.double(number) % 2 == 0",
            f"open({str(asked)!r}, 'a').write('.'); double.absent",
        )
    )
    _, out = answer(OFFERS_ONE)
    assert "to do   is-even" in out
    assert "not offered: absent" in out
    assert len(asked.read_text()) < 10


@pytest.mark.parametrize("broken", [1, 6])
def test_a_smallest_example_is_looked_for_where_it_will_be_told(book, answer, broken):
    """Of the first broken laws, and not of those after them."""
    page, laws = book.root / "docs/arithmetic/double.md", "tests/arithmetic/test_double.py"
    text = page.read_text()
    more, properties = "", ""
    for n in range(broken):
        more += f"/// law | double.more-{n}\nSo it is.\n///\n\n"
        properties += "\n\n@settings(database=None, derandomize=True)\n@given(st.integers())\n"
        properties += f"def test_more_{n}(double, number):\n    assert double.double(number) < 99\n"
    page.write_text(text.replace("/// law | double.is-even", more + "/// law | double.is-even"))
    (book.root / laws).write_text((book.root / laws).read_text() + properties)
    _, out = answer(OFFERS_ONE)
    assert out.count("number=50") == min(broken, 3)


def test_warnings_of_other_code_are_no_errors(book, answer):
    book.edit("pyproject.toml", "addopts", 'filterwarnings = ["error"]\naddopts')
    code, out = answer(
        "import warnings\n" + OFFERS_ONE.replace("return", "warnings.warn('hm'); return")
    )
    assert (code, "2 of 2 laws hold" in out) == (0, True)


def test_a_fault_of_the_codes_own_is_a_crash_and_says_which(answer):
    code, out = answer("def double(number): return number.twice\n")
    assert code == 1
    assert "CRASHED is-even" in out
    assert "AttributeError: 'int' object has no attribute 'twice'" in out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to such a limit")
def test_code_that_asks_for_the_whole_memory_crashes_alone(answer):
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    code, out = answer(f"def double(number):\n    bytes({machine})\n    return 2 * number\n")
    assert (code, "CRASHED is-even" in out, "MemoryError" in out) == (1, True, True)


def test_small_differences_are_taken_for_single_precision(book, answer):
    book.edit(
        "tests/arithmetic/test_double.py",
        "    assert double.double(number) % 2 == 0\n",
        "    off = abs(double.double(number) - 2 * number)\n"
        '    assert off == 0, f"Absolute difference: {off}"\n',
    )
    _, out = answer(OFFERS_ONE.replace("2 * number", "2 * number + 1e-7"))
    assert "does the code compute in float32?" in out
    _, out = answer(OFFERS_ONE.replace("2 * number", "2 * number + 1e-2"))
    assert "float32" not in out


def test_broken_code_shows_the_law_the_counterexample_and_the_mistake_it_resembles(answer):
    code, out = answer(
        "def double(n):\n    if isinstance(n, str): raise TypeError(n)\n    return n + n + 1\n"
    )
    assert code == 1
    assert "mathematics 0 of 1, bad input and devices 1 of 1" in out
    assert "BROKEN  is-even" in out
    assert "holds   rejects-text" in out
    assert "breaks is-even and keeps the rest" in out
    assert "number=0" in out
    assert "(100% alike): double.plus-one, docs/arithmetic/double.md:23" in out


def test_code_that_is_wrong_in_its_own_way_is_not_compared(answer):
    code, out = answer(
        "def double(n):\n    if isinstance(n, str): raise TypeError(n)\n"
        "    return 2 * n if n else 1\n"
    )
    assert code == 1
    assert "this mistake" not in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def double(\n", ["mine.py:1:", "'(' was never closed"]),
        ("import nothing_like_this\n", ["does not import", "nothing_like_this"]),
        ("while True: pass\n", ["on import", "endless loop"]),
        ("def double(): return 2\n", ["takes 0 positional arguments but 1 was given"]),
        ("def double(n):\n    while True: pass\n", ["still running after 1 seconds"]),
        ("def double(n): return 'two'\n", ["CRASHED", "not all arguments converted", "question"]),
    ],
)
def test_bad_files_get_a_clear_line(answer, text, words):
    endless = ("--seconds", "1") if "while True" in text else ()
    code, out = answer(text, *endless)
    assert code == 1
    for word in words:
        assert word in out


def test_a_module_that_can_be_imported_is_judged(book, capsys, monkeypatch):
    (book.root / "mine.py").write_text((book.root / MODULE).read_text())
    assert app.cli(args=["judge", CONCEPT, "mine"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exercise", "arithmetic/duble"], "did you mean arithmetic/double"),
        (["judge", CONCEPT, "absent.py"], "no file absent.py"),
        (["judge"], "say what to judge"),
        (["judge", "docs"], "no file that is named like a concept"),
        (["judge", "mkdocs.yml"], "which concept is mkdocs.yml"),
        (["judge", "a/b", "x.py"], "no concept"),
        (["run", "toy.cli"], "no folder"),
    ],
)
def test_what_is_not_there_is_said(book, arguments, message):
    with pytest.raises(ValueError, match=message):
        app.cli(args=arguments)


def test_progress_counts_laws_by_concept_and_remembers_nothing(book, capsys):
    app.cli(args=["exercise", CONCEPT])
    capsys.readouterr()
    before = sorted(book.root.rglob("*.json"))
    assert app.cli(args=["progress"]) == 0
    assert "0 of 2 laws" in capsys.readouterr().out
    assert sorted(book.root.rglob("*.json")) == before


def test_a_program_runs_on_the_readers_own_modules(book):
    (book.root / "src/toy/show.py").write_text(
        "from toy.arithmetic.double import double\nimport sys\nprint(double(int(sys.argv[1])))\n"
    )
    own = book.root / "exercises" / f"{CONCEPT}.py"
    own.parent.mkdir(parents=True)
    own.write_text("def double(n): return 'my own'\n")
    ran = subprocess.run(
        [sys.executable, "-m", "litspec", "run", "toy.show", "--", "4"],
        cwd=book.root, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "my own\n"
    assert f"yours: {CONCEPT}" in ran.stderr


def test_an_error_on_import_keeps_its_traceback(answer):
    code, out = answer("def fail(n):\n    return {}[n]\n\nfail(7)\n")
    assert code == 1
    assert "does not import: KeyError: 7" in out
    assert re.search(r'mine.py", line 4, in <module>\s+fail\(7\)', out)
    assert re.search(r'mine.py", line 2, in fail\s+return', out)
    assert "litspec/implementations" not in out


def test_an_error_of_the_readers_program_keeps_its_traceback(book):
    (book.root / "src/toy/show.py").write_text("def f():\n    raise ValueError('mine')\nf()\n")
    (book.root / "exercises").mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "litspec", "run", "toy.show"],
        cwd=book.root, env=os.environ | {"PYTHONPATH": f"src:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "show.py" in ran.stderr
    assert ran.stderr.endswith("ValueError: mine\n")


def test_private_helpers_are_left_out_unless_something_outside_a_body_needs_them():
    source = '''\
"""M."""

def _used(): return 1

def _unused(): return 2

TABLE = {"a": _used}

class Public:
    """P."""

    size: int = 3

    def __init__(self, size: int) -> None:
        """Set."""
        self.size = size

    def _hidden(self): return 1

    def one(self): return _unused()
'''
    text = empty(source)
    assert "_unused" not in text
    assert "_hidden" not in text
    assert "def _used(): raise NotImplementedError" in text
    assert "def one(self): raise NotImplementedError" in text
    assert '"""Set."""\n        raise NotImplementedError' in text
    assert "size: int = 3" in text
    compile(text, "exercise", "exec")
