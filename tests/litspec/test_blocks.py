"""What the site shows of laws and mistakes, and when it refuses to."""

import logging

import markdown
import pytest

PAGE = "docs/arithmetic/double.md"


@pytest.fixture
def render(book):
    def render(name=PAGE):
        extensions = ["pymdownx.superfences", "litspec.blocks"]
        return markdown.markdown((book.root / name).read_text(), extensions=extensions)

    return render


def test_a_law_has_an_address_a_statement_its_property_and_who_passed_it(render, run):
    run("tests")
    html = render()
    assert '<section class="law" id="double.is-even">' in html
    assert "The double of a number is even." in html
    assert "Holds for reference, 20 examples tried" in html
    assert '<span class="nf">test_is_even</span>' in html


def test_a_mistake_shows_its_diff_its_law_and_its_counterexample(render, run):
    run("tests")
    html = render()
    assert '<section class="mistake" id="double.plus-one">' in html
    assert '<span class="gi">+    return 2 * number + 1' in html
    assert 'Caught by <a href="#double.is-even">double.is-even</a>' in html
    assert '<pre class="counterexample">number=0' in html


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
