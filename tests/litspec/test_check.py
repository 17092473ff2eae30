"""Every way in which page, module and law file can disagree is found, with file and line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from litspec.check import check
from litspec.cli import app
from litspec.pages import Mistake, Project

PAGE, MODULE, LAWS = (
    "docs/arithmetic/double.md",
    "src/toy/arithmetic/double.py",
    "tests/arithmetic/test_double.py",
)
ROOT = Path(__file__).parents[2]


def test_a_bound_book_has_no_findings(book):
    assert check(Project.find(book.root)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "message"),
    [
        (LAWS, "test_is_even", "test_even", f"{PAGE}:13", "write test_is_even(double,"),
        (LAWS, "test_is_even", "test_even", f"{LAWS}:7", "state double.even on"),
        (LAWS, "(double, number)", "(number)", f"{LAWS}:7", "must take double"),
        (LAWS, "test_rejects_text", "test_is_even", f"{LAWS}:11", "a second test_is_even"),
        (PAGE, "law | double.is-even", "law | double.rejects-text", f"{PAGE}:13", "several"),
        (PAGE, "law | double.is-even", "law | twice.is-even", f"{PAGE}:13", "name it double"),
        (PAGE, "/// law | double.is-even", "/// law", f"{PAGE}:13", "has no id"),
        (PAGE, "The double of", "    kind: magic\nThe double of", f"{PAGE}:13", "kind 'magic'"),
        (PAGE, "A text is written twice.\n///", "A text.", f"{PAGE}:33", "is not closed"),
        (PAGE, "A text is written twice.", "", f"{PAGE}:33", "say how it shows"),
        (PAGE, "The double of a number is even.", "", f"{PAGE}:13", "state it in one sentence"),
        (PAGE, "caught-by: double.is-even", "caught-by:", f"{PAGE}:23", "names no law"),
        (PAGE, "caught-by: double.is-even", "caught-by:", f"{PAGE}:13", "no mistake is caught by"),
        (PAGE, "caught-by: double.is-even", "caught-by: double.odd", f"{PAGE}:23", "not stated"),
        (PAGE, "| double.unchecked", "| double.plus-one", f"{PAGE}:33", "several mistakes"),
        (PAGE, "| double.unchecked", "| twice.unchecked", f"{PAGE}:33", "name it double"),
        (PAGE, "-    return 2 * number", "-    return 3 * number", f"{PAGE}:23", "fits 0 places"),
        (MODULE, "    return 2 * number\n", "    return 2 * number\n" * 2, f"{PAGE}:23", "fits 2"),
        (PAGE, "+    return 2 * number + 1", "+    return 2 * number", f"{PAGE}:23", "no line"),
        (PAGE, "```python", "```python title='x'", f"{PAGE}:5", "never runs"),
        (PAGE, "Twice a number.", "TODO: say it", f"{PAGE}:3", "still to do: TODO: say it"),
        ("mkdocs.yml", "- arithmetic/double.md", "- other.md", "mkdocs.yml:1", "not in the nav"),
    ],
)  # fmt: skip
def test_a_finding_names_its_place_and_what_to_write(book, name, old, new, place, message):
    book.edit(name, old, new)
    found = {
        f"{finding.file.relative_to(book.root)}:{finding.line}": finding.message
        for finding in check(Project.find(book.root))
        if message in finding.message
    }
    assert place in found


@pytest.mark.parametrize("name", [PAGE, MODULE, LAWS])
def test_an_absent_file_is_a_finding(book, name):
    (book.root / name).unlink()
    findings = check(Project.find(book.root))
    assert any(finding.file == book.root / name for finding in findings)


def test_two_concepts_of_one_name_are_ambiguous(book):
    for name in (PAGE, MODULE, LAWS):
        twin = book.root / name.replace("arithmetic", "geometry")
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_text((book.root / name).read_text())
    (book.root / "src/toy/geometry/__init__.py").touch()
    messages = [finding.message for finding in check(Project.find(book.root))]
    assert sum("several concepts are named double" in message for message in messages) == 2


def test_a_concept_may_stand_beside_the_parts(book):
    for name in (PAGE, MODULE, LAWS):
        file = book.root / name
        beside = file.parents[1] / file.name
        beside.write_text(file.read_text().replace("arithmetic.", ""))
        file.unlink()
    book.edit("mkdocs.yml", "arithmetic/double.md", "double.md")
    project = Project.find(book.root)
    assert list(project.concepts) == ["double"]
    assert check(project) == []
    book.edit("tests/test_double.py", "test_is_even", "test_even")
    messages = [finding.message for finding in check(Project.find(book.root))]
    assert any("write test_is_even(double," in message for message in messages)


def test_blocks_inside_a_code_fence_are_only_shown(book):
    (book.root / "docs/index.md").write_text("````markdown\n/// law | shown.only\nA.\n///\n````\n")
    assert list(Project.find(book.root).concepts) == ["arithmetic/double"]


def test_a_diff_of_several_hunks_applies_each(book):
    diff = "-one\n+1\n@@\n-three\n+3\n"
    assert Mistake("a.b", (), diff, "", 1).apply("one\ntwo\nthree\n") == "1\ntwo\n3\n"


def test_a_folder_without_a_book_is_refused(tmp_path):
    with pytest.raises(ValueError, match="litspec"):
        Project.find(tmp_path)


def test_the_list_is_complete_and_in_reading_order(book, capsys):
    assert app.cli(args=["list", "--json"]) == 0
    [concept] = json.loads(capsys.readouterr().out)
    assert (concept["page"], concept["module"], concept["law_file"]) == (PAGE, MODULE, LAWS)
    assert [law["id"] for law in concept["laws"]] == ["double.is-even", "double.rejects-text"]
    assert concept["laws"][0]["statement"] == "The double of a number is even."
    assert concept["mistakes"][1]["caught_by"] == ["double.rejects-text"]


def test_check_exits_non_zero_with_all_findings(book, capsys):
    assert app.cli(args=["check"]) == 0
    book.edit(PAGE, "-    return 2 * number", "-    return 3 * number")
    book.edit(LAWS, "test_rejects_text", "test_text")
    assert app.cli(args=["check"]) == 1
    assert "1 concepts, 3 findings" in capsys.readouterr().out


def test_this_book_is_bound():
    assert [f"{one.file}:{one.line}: {one.message}" for one in check(Project.find(ROOT))] == []


def test_reading_this_book_imports_neither_torch_nor_the_concepts():
    code = (
        "import sys, litspec.cli; litspec.cli.app.cli(args=['list', '--json']);"
        "sys.exit('torch' in sys.modules or 'gptspec' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
