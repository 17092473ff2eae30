"""What the site shows of laws and mistakes, and when it refuses to."""

import base64
import logging
import re

import markdown
import nbformat
import pytest

from litspec.notebook import cells
from litspec.pages import Project, read_head

PAGE = "docs/arithmetic/double.md"
PIPELINE = 'pipeline = [{ name = "number" }, { name = "result", shape = "any" }]\n'
CHANGED = """    if isinstance(number, str):
-        raise TypeError("number must not be a text")
-    return 2 * number
+    return 2 * number + 1"""
FIGURE = """As in the [toy](../index.md).

```python exec="true" html="true"
figure = '<svg></svg>'
print(figure)
```"""


@pytest.fixture
def render(book):
    def render(name=PAGE):
        extensions = ["pymdownx.superfences", "litspec.blocks"]
        text = (book.root / name).read_text()
        lines = text.splitlines()[read_head(text)[1] :]  # MkDocs takes the head away
        return markdown.markdown("\n".join(lines), extensions=extensions)

    return render


def test_a_law_has_an_address_a_statement_its_property_and_who_passed_it(render, run):
    run("tests")
    html = render()
    assert '<h3 class="bound-title" id="double.is-even">Law: is even</h3>' in html
    assert "The double of a number is even." in html
    assert "Holds for reference, 20 examples tried" in html
    assert '<span class="nf">test_is_even</span>' in html


def test_a_mistake_shows_its_diff_its_law_and_its_counterexample(render, run):
    run("tests")
    html = render()
    assert '<h3 class="bound-title" id="double.plus-one">Mistake: plus one</h3>' in html
    assert '<span class="gi">+    return 2 * number + 1' in html
    assert 'Caught by <a href="#double.is-even">double.is-even</a>' in html
    assert "<code>number = 0</code>" in html
    assert "<td><code>0</code></td><td><code>(1 % 2)</code></td>" in html  # expected, got
    assert '<pre class="counterexample" tabindex="0">number=0' in html


def test_mistakes_are_plausible_or_reported_with_a_link(render, book):
    where = "    caught-by: double.is-even\n    reported: toy 1.2, issue 3 https://toy.example/3"
    book.edit(PAGE, "    caught-by: double.is-even", where)
    html = render()
    assert 'reported: <a href="https://toy.example/3">toy 1.2, issue 3</a>' in html
    assert html.count(">plausible</span>") == 1


def test_a_mistake_that_several_laws_catch_shows_the_first_it_names(render, run, book):
    both = "caught-by: double.rejects-text, double.is-even"
    book.edit(PAGE, "    return 2 * number\n+    return 2 * number + 1", CHANGED)
    book.edit(PAGE, "caught-by: double.is-even", both)
    run("tests")
    html = render()
    first, others = html.split("Caught also by ")
    assert "#double.rejects-text" in first.split('id="double.plus-one"')[1]
    assert others.startswith('<a href="#double.is-even">double.is-even</a>')


def test_code_stands_open_without_its_docstring(render, book):
    book.edit(PAGE, "## Laws", "/// code | double.double\n///\n\n## Laws")
    html = render()
    assert '<span class="k">return</span> <span class="mi">2</span>' in html
    assert "Return twice" not in html


def test_a_belief_that_does_not_hold_stands_with_its_example(render, book):
    example = "```python\n>>> 2 * 0.5\n1.0\n```"
    block = f"/// not-a-law | double.is-larger\nIt is larger than 1.\n\n{example}\n///"
    book.edit(PAGE, "## Laws", f"{block}\n\n## Laws")
    html = render()
    assert '<h3 class="bound-title" id="double.is-larger">Not a law: is larger</h3>' in html


def test_the_reference_part_is_folded_and_says_what_is_inside(render, book):
    text = (book.root / PAGE).read_text()
    head, laws = text.split("## Laws\n")
    (book.root / PAGE).write_text(f"{head}//// reference\n{laws}////\n")
    html = render()
    words = "<summary>2 more laws, 2 more mistakes, the full signatures</summary>"
    assert html.index(words) < html.index('id="double.is-even"')
    assert html.rstrip().endswith("</details>")


@pytest.fixture
def drawn(book):
    book.edit("pyproject.toml", "[tool.litspec]\n", f"[tool.litspec]\n{PIPELINE}")
    text = (book.root / PAGE).read_text()
    head = "---\nneeds:\nat: result\nshape: one → one\nminutes: 3\n---\n\n"
    (book.root / PAGE).write_text(head + text)
    law = "/// law | twice.a\nA.\n///\n"
    other = f"---\nneeds: double\nminutes: 4\n---\n\n# Twice\n\nThe same.\n\n{law}"
    (book.root / "docs/twice.md").write_text(other)
    book.edit("mkdocs.yml", "double.md", "double.md\n      - twice.md")
    return book


def test_a_page_says_where_it_is_and_what_it_needs(render, drawn):
    html = render()
    assert '<li aria-current="step"><span>result</span><small>one → one</small></li>' in html
    assert "<li><span>number</span></li>" in html
    assert "<span>3 minutes</span>" in html
    assert 'Needs: <a href="arithmetic/double.md">Double</a>' in render("docs/twice.md")


def test_the_ladder_is_drawn_from_what_pages_need(render, drawn):
    (drawn.root / "docs/map.md").write_text("/// ladder\n///\n")
    html = render("docs/map.md")
    first, second = html.split("</li>")[:2]
    assert 'href="arithmetic/double.md" title="needs nothing"' in first
    assert 'href="twice.md" title="needs double"' in second


def test_a_page_is_a_notebook_too(render, drawn):
    book = drawn
    book.edit(PAGE, "## Laws", "/// code | double.double\n///\n\n## Laws")
    book.edit(PAGE, "Twice a number.", FIGURE)
    match = re.search(r'href="data:application/x-ipynb\+json;base64,([^"]+)"', render())
    made = nbformat.reads(base64.b64decode(match[1]), as_version=4)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert code[0].startswith("from IPython.display import HTML")
    assert code[1] == "figure = '<svg></svg>'\nshow(figure)"
    assert code[2] == "from toy.arithmetic.double import double\ndouble(2)"
    assert code[3].startswith("from toy.arithmetic.double import *\n\n\ndef double(")
    assert code[3].endswith("    return 2 * number")
    prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert prose.startswith("# Double\n\nAs in the toy.")
    assert "**Law** `double.is-even`" in prose
    assert "caught-by" not in prose
    assert "+    return 2 * number + 1" in prose


def test_a_stale_page_is_a_warning_once(render, run, book, caplog):
    run("tests")
    with caplog.at_level(logging.WARNING, "mkdocs.litspec"):
        render()
        book.edit(PAGE, "Twice a number.", "Two of a number.")  # which no run depends on
        render()
        assert caplog.messages == []
        book.edit(PAGE, "+    return 2 * number + 1", "+    return 2 * number - 1")
        render()
    assert caplog.messages == [
        "arithmetic/double: its page changed since its laws were run: run the laws again"
    ]


def test_the_table_of_all_laws_names_each_with_its_address(render, run, book):
    run("tests")
    (book.root / "docs/laws.md").write_text("/// laws\n///\n")
    html = render("docs/laws.md")
    assert '<a href="arithmetic/double.md#double.is-even">is-even</a>' in html
    assert "<td>20 tried</td>" in html
    assert "<td>1 caught</td>" in html


def test_code_in_a_notebook_finds_the_helpers_of_its_module(drawn):
    drawn.edit("src/toy/arithmetic/double.py", "return 2 * number", "return _two() * number")
    module = drawn.root / "src/toy/arithmetic/double.py"
    module.write_text(module.read_text() + "\n\ndef _two():\n    return 2\n")
    drawn.edit(PAGE, "## Laws", "/// code | double.double\n///\n\n## Laws")
    code = [
        text
        for kind, text in cells(Project.find(drawn.root), "arithmetic/double")
        if kind == "code"
    ]
    assert "from toy.arithmetic.double import _two\n" in code[-1]
