"""A new book is green at once: in this process, and from the wheels in a fresh environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from litspec.check import check
from litspec.cli import app
from litspec.init import init, requirement
from litspec.pages import Project

ROOT = Path(__file__).parents[2]


def test_a_new_book_is_bound(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert app.cli(args=["init", "My-Book 2"]) == 0
    out = capsys.readouterr().out
    project = Project.find(tmp_path / "My-Book 2")
    assert project.package == "my_book_2"
    assert list(project.concepts) == ["ciphers/caesar", "ciphers/vigenere"]
    assert check(project) == []
    for name in ("docs/index.md", "noxfile.py", "mkdocs.yml", "src/my_book_2/ciphers/caesar.py"):
        assert f"wrote {name}\n" in out
    written = [file for file in (tmp_path / "My-Book 2").rglob("*") if file.is_file()]
    assert len(written) == out.count("wrote ")
    for file in written:
        assert "@" not in file.name
        for blank in ("@package@", "@name@", "@title@", "@litspec@"):
            assert blank not in file.read_text(encoding="utf-8")


def test_laws_hold_and_mistakes_are_caught_in_a_new_book(tmp_path, pytester, monkeypatch):
    init(tmp_path / "letters")
    monkeypatch.chdir(tmp_path / "letters")
    options = ("-p", "no:jaxtyping", "--rootdir", ".", "-c", "pyproject.toml")
    result = pytester.runpytest_inprocess(*options)
    result.assert_outcomes(passed=7 + 2 + 4, xfailed=7)  # laws, pages, docstrings and modules
    result.stdout.fnmatch_lines(["7 laws hold, 7 mistakes caught*"])


@pytest.mark.parametrize("name", ["class", "json", "litspec", "1st", "ä", "__"])
def test_a_name_that_is_no_package_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="the package's name must be a word"):
        init(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert init(tmp_path / name, "fine_1")


def test_what_is_there_is_kept(tmp_path):
    folder = tmp_path / "book"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs/index.md").write_text("mine")
    with pytest.raises(ValueError, match=r"already there, choose an empty folder: docs/index\.md"):
        init(folder)
    assert [file.name for file in folder.rglob("*") if file.is_file()] == ["index.md"]
    (folder / "docs/index.md").unlink()
    (folder / "notes.txt").write_text("mine")  # stands in the way of nothing
    init(folder)


class Fresh:
    """A fresh environment with nothing but pip in it."""

    def __init__(self, root):
        self.root = root
        subprocess.run([sys.executable, "-m", "venv", root / "env"], check=True)
        self.programs = root / "env" / ("Scripts" if os.name == "nt" else "bin")
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "PYTEST_ADDOPTS", "VIRTUAL_ENV")
        }

    def __call__(self, *command, folder=None):
        program, *arguments = map(str, command)
        ran = subprocess.run(
            [self.programs / program, *arguments], cwd=folder or self.root, env=self.variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
        return ran.stdout + ran.stderr


@pytest.fixture
def fresh(tmp_path):
    return Fresh(tmp_path)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of litspec and gptspec, by name, built from a copy of their sources."""
    folder = tmp_path_factory.mktemp("wheels")
    # setuptools builds beside the sources, where tests and linters would find what it leaves.
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    copy = shutil.copytree(ROOT / "src/litspec", folder / "litspec", ignore=ignored)
    for project in (copy, ROOT):
        command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, project]
        subprocess.run([sys.executable, "-m", *command], check=True)
    return {file.name.partition("-")[0]: file for file in folder.glob("*.whl")}


@pytest.mark.slow
def test_litspec_alone_starts_a_green_book(fresh, wheels):
    tested = ("-c", ROOT / "tests/tested.txt")
    site = ("mkdocs-material", "mkdocstrings[python]")
    fresh("pip", "install", "--quiet", wheels["litspec"], *site, *tested)
    assert "torch" not in fresh("pip", "list")
    fresh("litspec", "init", "letters")
    book = fresh.root / "letters"
    assert "2 concepts, 0 findings" in fresh("litspec", "check", folder=book)
    assert "7 laws hold, 7 mistakes caught" in fresh("pytest", folder=book)
    assert "2 concepts, 0 findings" in fresh("litspec", "check", "--report", folder=book)
    fresh("mkdocs", "build", "--strict", folder=book)
    page = (book / "site/ciphers/vigenere/index.html").read_text(encoding="utf-8")
    assert "Holds for reference, 50 examples tried" in page
    assert "Caught by" in page
    # What it asks for is where it came from, so that nox installs the same.
    assert "litspec @ file:" in (book / "pyproject.toml").read_text()
    fresh("litspec", "new", "ciphers/rail", folder=book)


@pytest.mark.slow
def test_gptspec_alone_changes_nothing_in_other_suites(fresh, wheels):
    fresh("pip", "install", "--quiet", "pytest", "-c", ROOT / "tests/tested.txt")
    (fresh.root / "test_theirs.py").write_text(
        "def test_theirs(pytestconfig):\n"
        "    names = [name for name, _ in pytestconfig.pluginmanager.list_name_plugin()]\n"
        "    print(sorted(name for name in names if not name.isdigit()))\n"
    )

    def said():
        out = fresh("pytest", "-s", "-q", "-p", "no:cacheprovider", "test_theirs.py")
        return out.rpartition(" in ")[0]

    before = said()
    assert "1 passed" in before
    fresh("pip", "install", "--quiet", "--no-deps", wheels["gptspec"])
    assert said() == before


def test_a_book_asks_for_litspec_as_it_is_installed():
    assert requirement().partition(" ")[0].partition(">")[0] == "litspec"
