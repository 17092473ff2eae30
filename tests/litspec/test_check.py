"""Every way in which page, module and law file can disagree is found, with file and line."""

import json
import subprocess
import sys
from pathlib import Path

import markdown
import pytest

from litspec import blocks
from litspec.check import check
from litspec.cli import app
from litspec.pages import OWN_BLOCKS, Mistake, Project
from litspec.patches import mistyped

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
        (PAGE, "/// law | double.is-even", "/// lav | double.is-even", f"{PAGE}:13",
         "no block /// lav: did you mean law?"),
        (PAGE, "/// law | double.is-even", "/// xyz", f"{PAGE}:13", "there are law, mistake"),
        (PAGE, "number is even.\n///", "number is even.", f"{PAGE}:13", "law is not closed by ///"),
        (PAGE, "law | double.is-even", "law | is-even", f"{PAGE}:13", "name it double.is-even"),
        (PAGE, "law | double.is-even", "law | double.is_even", f"{PAGE}:13", "it double.is-even"),
        (PAGE, "| double.plus-one", "| double.plus_one", f"{PAGE}:23", "name it double.plus-one"),
        (PAGE, "law | double.is-even", "law | is even", f"{PAGE}:13", "which must be one word"),
        (PAGE, "is even.", "is even. So is 0.", f"{PAGE}:13", "is 2 sentences"),
        (PAGE, "is even.", "is even", f"{PAGE}:13", "without a full stop"),
        (PAGE, "The double of", "    kind: conventoin\nThe double of", f"{PAGE}:13",
         "did you mean convention?"),
        (PAGE, "caught-by: double.is-even", "caught-by: double.is-evn", f"{PAGE}:23",
         "did you mean double.is-even?"),
        (PAGE, "+    return 2 * number + 1",
         "+    return 2 * numbr + 1", f"{PAGE}:28", "nothing defines numbr: did you mean number?"),
        (PAGE, "+    return 2 * number + 1", "+    return 2 * (number", f"{PAGE}:28",
         "with it the module is no Python: '(' was never closed"),
        (PAGE, "-    return 2 * number\n+", "-  return 2 * number\n+", f"{PAGE}:23",
         "indentation differs: it fits indented by 4, at line 8"),
        (PAGE, "-    return 2 * number\n+", "-    return 2 * nmber\n+", f"{PAGE}:23",
         "line 8, which reads\n        return 2 * number\nand not\n        return 2 * nmber (in"),
        (MODULE, "    return 2 * number\n", "    return 2 * number\n" * 2, f"{PAGE}:23",
         "they begin at lines 8 and 9"),
        (MODULE, "    return 2 * number", "    return (2 * number", f"{MODULE}:8", "is no Python"),
        (LAWS, "assert double.double(number)", "assert (double.double(number)", f"{LAWS}:8",
         "this is no Python: '(' was never closed"),
        (LAWS, "@given(st.integers())\n", "", f"{LAWS}:6", "decorate it with @given"),
        ("mkdocs.yml", "- index.md", "- indx.md", "mkdocs.yml:3", "did you mean index.md?"),
        ("mkdocs.yml", "- index.md", "- 'Home': \"indx.md\"  # here", "mkdocs.yml:3",
         "no page indx.md"),
        ("mkdocs.yml", "- index.md", "- arithmetic/double.md", "mkdocs.yml:5",
         "in the navigation already, in line 3"),
        ("mkdocs.yml", "- index.md", "- 'arithmetic/double.md'", "mkdocs.yml:5", "in line 3"),
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


@pytest.mark.parametrize("name", [PAGE, MODULE, LAWS, "docs/index.md"])
def test_a_file_that_is_not_utf8_is_a_finding(book, name):
    content = (book.root / name).read_bytes()
    (book.root / name).write_bytes(content + "\n# café".encode("latin-1"))
    [finding] = check(Project.find(book.root))
    assert finding.file == book.root / name
    assert finding.line == content.count(b"\n") + 2
    assert "not UTF-8 (0xe9)" in finding.message


def test_a_quoted_entry_of_the_navigation_is_one(book):
    book.edit(
        "mkdocs.yml", "- arithmetic/double.md", "- \"Twice: a number\": 'arithmetic/double.md'"
    )
    project = Project.find(book.root)
    assert project.pages == ["index.md", "arithmetic/double.md"]
    assert check(project) == []


def test_only_the_navigation_is_read_for_pages(book):
    with (book.root / "mkdocs.yml").open("a") as file:
        file.write("exclude:\n  - notes.md\n")
    assert check(Project.find(book.root)) == []


def test_the_blocks_that_are_known_are_those_that_the_site_has(book):
    known = []
    markdown.Markdown(extensions=["litspec.blocks"])
    for one in vars(blocks).values():
        if isinstance(one, type) and issubclass(one, blocks.Block) and one.NAME:
            known.append(one.NAME)
    assert set(OWN_BLOCKS) == set(known)


def test_a_mistake_may_use_what_the_module_defines_in_any_way(book):
    source = (
        "import os.path as p\nfrom a import b\nclass C: pass\ndef f(x, *y, z=1, **k):\n"
        "    for i, (j, l) in x: pass\n    with x as w: pass\n"
        "    try: pass\n    except ValueError as e: pass\n    return [q for q in x]\n"
        "match 1:\n    case [m, *r] | {'a': m, **r}: pass\n"
    )
    used = "print(p, b, C, f, x, y, z, k, i, j, l, w, e, q, m, r, __name__)\n"
    assert mistyped(source, source + used) == []
    assert mistyped(source, source + used.replace("w,", "v,"))[0][:2] == ("v", 12)
    assert [name for name, *_ in mistyped(source + used, used + source[19:])] == ["p"]
    assert mistyped("from a import *\n", "from a import *\nprint(b)\n") == []
    assert mistyped("print(b)\n", "print(b, c)\n") == [("c", 1, None)]


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


HEADS = """[tool.litspec]
pipeline = [{ name = "number" }, { name = "result", shape = "one" }]
"""


@pytest.fixture
def two(book):
    """A book of two concepts with heads: twice needs double."""
    for name in (PAGE, MODULE, LAWS):
        text = (book.root / name).read_text().replace("double", "twice").replace("Double", "Twice")
        (book.root / name.replace("double", "twice")).write_text(text)
    book.edit(
        "mkdocs.yml",
        "- arithmetic/double.md",
        "- arithmetic/double.md\n      - arithmetic/twice.md",
    )
    book.edit("pyproject.toml", "[tool.litspec]\n", HEADS)
    for name, needs in [("double", ""), ("twice", "double")]:
        page = book.root / f"docs/arithmetic/{name}.md"
        page.write_text(f"---\nneeds: {needs}\nat: result\nminutes: 3\n---\n\n{page.read_text()}")
    return book


TWICE = PAGE.replace("double", "twice")


def test_a_book_with_heads_in_order_has_no_findings(two):
    project = Project.find(two.root)
    assert check(project) == []
    assert project.concepts["arithmetic/twice"].page.needs == ["double"]
    assert project.titles == {
        "Toy": "index",
        "Double": "arithmetic/double",
        "Twice": "arithmetic/twice",
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "message"),
    [
        (PAGE, "needs: ", "needs: twice", f"{PAGE}:2", "needs twice, which comes later"),
        (PAGE, "needs: ", "needs: double", f"{PAGE}:2", "no other concept"),
        (TWICE, "needs: double", "needs: double, thrice", f"{TWICE}:2", "needs thrice, which"),
        (TWICE, "needs: double\n", "", f"{TWICE}:1", "write needs:"),
        (TWICE, "at: result", "at: number, sum", f"{TWICE}:3", "has number, result"),
        (TWICE, "# Twice", "# Double", f"{TWICE}:1", "several pages have the title"),
    ],
)  # fmt: skip
def test_what_a_head_says_is_checked(two, name, old, new, place, message):
    test_a_finding_names_its_place_and_what_to_write(two, name, old, new, place, message)


def test_links_ahead_stand_where_the_story_is_over(two):
    two.edit("pyproject.toml", "[tool.litspec]\n", '[tool.litspec]\nahead = ["Where next"]\n')
    two.edit(PAGE, "Twice a number.", "Twice a number, not [twice](twice.md#laws) that.")
    two.edit(TWICE, "Twice a number.", "Like [double](double.md), and [the toy](../index.md).")
    (found,) = check(Project.find(two.root))
    assert (found.file.name, found.line) == ("double.md", 9)
    assert found.message.startswith("arithmetic/twice comes later: link to it below Where next")
    two.edit(PAGE, "Twice a number", "## Where next\n\nTwice a number")
    assert check(Project.find(two.root)) == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("/// code | double.half\n///", "the module has no half"),
        ("/// code | half.double\n///", "no concept is named half"),
        ("/// not-a-law | double.is-odd\nIt is odd.\n///", "add a ```python fence with >>>"),
        ("/// not-a-law | odd\n```python\n>>> 1\n1\n```\n///", "name it double."),
        ("/// code | double.double", "is not closed"),
    ],
)
def test_what_a_page_shows_is_checked(book, block, message):
    book.edit(PAGE, "## Laws", f"{block}\n\n## Laws")
    found = check(Project.find(book.root))
    assert any(message in one.message and one.line == 11 for one in found)


def test_a_reported_mistake_has_a_link(book):
    where = "    caught-by: double.is-even\n    reported: toy 1.2, issue 3"
    book.edit(PAGE, "    caught-by: double.is-even", where)
    assert "end with a link" in check(Project.find(book.root))[0].message
    book.edit(PAGE, "issue 3", "issue 3: <https://toy.example/3>")
    assert "end with a link" in check(Project.find(book.root))[0].message  # YAML would not read it
    book.edit(PAGE, "issue 3: <https://toy.example/3>", "issue 3 https://toy.example/3")
    project = Project.find(book.root)
    assert check(project) == []
    [plus_one, unchecked] = project.concepts["arithmetic/double"].page.mistakes
    assert (plus_one.reported, unchecked.reported) == ("toy 1.2, issue 3 https://toy.example/3", "")


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
