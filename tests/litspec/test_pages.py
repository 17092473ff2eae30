"""Whatever a page holds, its laws and mistakes are read; whatever changed, a diff makes it."""

import difflib
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from litspec import patches
from litspec.check import check
from litspec.pages import Law, LawKind, Mistake, Page, read_page

names = st.lists(st.sampled_from(["no", "future", "is", "2d"]), min_size=1, max_size=3).map(
    "-".join
)
sentences = st.lists(
    st.sampled_from(["All", "holds", "`a`", "[b](c.md)", "$x$", "/"]), min_size=1, max_size=6
).map(lambda words: " ".join(words) + ".")
code_lines = st.text("ab =()\t", min_size=1, max_size=6).map(lambda text: f"x{text}".rstrip())
FENCE = "```text\n/// law | c.shown\nOnly shown.\n///\n```"
asides = st.lists(
    st.sampled_from(
        ["", "Prose.", "## A head", FENCE, "/// laws\n///", "    indented", "> quoted"]
    ),
    max_size=3,
)


@st.composite
def laws(draw):
    kind = draw(st.sampled_from(LawKind))
    option = f"    kind: {kind}\n" if kind is not LawKind.MATHEMATICS or draw(st.booleans()) else ""
    name, statement = draw(names), draw(sentences)
    text = f"/// law | c.{name}\n{option}{statement}\n///"
    return text, Law(f"c.{name}", statement, 0, kind)


@st.composite
def mistakes(draw):
    name, story = draw(names), draw(sentences)
    caught = draw(st.lists(names.map("c.{}".format), max_size=2))
    minus, plus = draw(code_lines), draw(code_lines)
    diff = f"-{minus}\n+{plus}\n"
    text = (
        f"/// mistake | c.{name}\n    caught-by: {', '.join(caught)}\n\n"
        f"```diff\n{diff}```\n{story}\n///"
    )
    return text, Mistake(f"c.{name}", tuple(caught), diff, story, 0)


def read(text):
    with TemporaryDirectory() as folder:
        file = Path(folder, "c.md")
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_page(file)


@given(st.lists(st.one_of(laws(), mistakes()), max_size=4), st.data(), st.sampled_from(["", "  "]))
def test_what_is_written_is_read_at_its_line(blocks, data, indent):
    lines, expected = ["---", "needs: a, b", "---", "# C", "", "A summary."], []
    for text, block in blocks:
        for aside in data.draw(asides):
            lines += aside.split("\n")
        lines.append("")
        expected.append((len(lines) + 1, block))
        # An option of a block stands four spaces further in.
        lines += [f"{indent}{line}" if line else "" for line in text.split("\n")]
    page = read("\n".join(lines) + "\n")
    assert (page.title, page.summary, page.needs) == ("C", "A summary.", ["a", "b"])
    assert page.findings == ()
    for kind, found in ((Law, page.laws), (Mistake, page.mistakes)):
        wanted = [(line, block) for line, block in expected if isinstance(block, kind)]
        assert [one.line for one in found] == [line for line, _ in wanted]
        for one, (_, block) in zip(found, wanted, strict=True):
            assert vars(one) | {"line": 0, "diff_line": 0} == vars(block) | {"diff_line": 0}
            if kind is Mistake:
                assert lines[one.diff_line - 1].strip() == one.diff.splitlines()[0].strip()


@given(st.lists(st.one_of(laws(), mistakes()), min_size=1, max_size=3), st.data())
def test_an_unclosed_block_hides_no_other(blocks, data):
    at = data.draw(st.integers(0, len(blocks) - 1))
    texts = [text for text, _ in blocks]
    texts[at] = texts[at].removesuffix("\n///")
    page = read("# C\n\n" + "\n\n".join(texts) + "\n")
    assert len(page.laws) + len(page.mistakes) == len(blocks) - 1
    [finding] = page.findings
    assert "is not closed by ///" in finding.message


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b"# Caf\xe9\n/// law | c.a\nA.\n///\n")
@example("/// law")
@example("/// mistake | c.a\n```diff\n")
@example("---\n")
def test_any_page_can_be_read(text):
    assert isinstance(read(text), Page)


@given(st.lists(code_lines, min_size=1, max_size=8), st.lists(code_lines, max_size=3), st.data())
def test_a_diff_makes_the_change_that_it_shows_and_no_other(old, put, data):
    start = data.draw(st.integers(0, len(old) - 1))
    end = data.draw(st.integers(start + 1, len(old)))
    above = data.draw(st.integers(0, start))
    new = old[:start] + put + old[end:]
    assume(new != old)
    context = old[above:start]
    diff = "".join(
        [f" {line}\n" for line in context]
        + [f"-{line}\n" for line in old[start:end]]
        + [f"+{line}\n" for line in put]
    )
    source, wanted = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    places = sum(
        old[at : at + end - above] == old[above:end] for at in range(len(old) - (end - above) + 1)
    )
    if old[start:end] == put:
        said = "removes or changes no line"
    else:
        said = f"the diff fits {places} places, not one; they begin at lines"
    if places == 1 and old[start:end] != put:
        assert patches.apply(diff, source) == wanted
    else:
        with pytest.raises(ValueError, match=said):
            patches.apply(diff, source)


@given(st.lists(code_lines, min_size=2, max_size=8, unique=True), st.data())
def test_a_diff_that_does_not_fit_shows_the_line_that_is_most_like_it(lines, data):
    at = data.draw(st.integers(0, len(lines) - 1))
    source = "".join(f"    {line}\n" for line in lines)
    for typed, said in [
        (f"  {lines[at]}", f"indentation differs: it fits indented by 4, at line {at + 1}"),
        (f"    {lines[at]}#", f"nearest is line {at + 1}, which reads\n        {lines[at]}\nand"),
    ]:
        like = [difflib.SequenceMatcher(None, f"    {line}", typed).ratio() for line in lines]
        assume(like.count(max(like)) == 1)
        with pytest.raises(ValueError, match=re.escape(said)):
            patches.apply(f"-{typed}\n+pass\n", source)


@given(st.data())
def test_only_what_nothing_defines_is_a_mistyped_name(data):
    """A name is drawn for each line, and each line reads what a line somewhere defines."""
    count = data.draw(st.integers(1, 6))
    reads = [data.draw(st.integers(0, count - 1)) for _ in range(count)]
    kinds = [data.draw(st.sampled_from(KINDS)) for _ in range(count)]
    lines = [kind.format(f"name_{at}", f"name_{reads[at]}") for at, kind in enumerate(kinds)]
    source = "\n".join(lines) + "\n"
    at = data.draw(st.integers(0, count - 1))
    changed = source.replace(lines[at], kinds[at].format(f"name_{at}", "mistyped"))
    found = patches.mistyped(source, changed)
    assert [name for name, *_ in found] == ["mistyped"]
    assert changed.splitlines()[found[0][1] - 1].count("mistyped")
    renamed = source.replace(lines[at], kinds[at].format("renamed", f"name_{reads[at]}"))
    wanted = {f"name_{at}"} if at in reads else set()
    assert {name for name, *_ in patches.mistyped(source, renamed)} == wanted
    assert patches.mistyped(source, source + "# name_x\n") == []


KINDS = (
    "{0} = {1}",
    "def {0}(x): return {1}",
    "class {0}({1}): pass",
    "for {0} in {1}: pass",
    "with {1} as {0}: pass",
    "from {1} import {0}; {1}",
    "def f(\n    {0}=0,\n):\n    return {1}",
    "try: {1}\nexcept E as {0}: pass\nE = 0",
)


def test_checks_are_of_every_page(book):
    from litspec.pages import Project

    (book.root / "docs/index.md").write_text("# Toy\n\n/// lav | toy.a\nA.\n///\n")
    [finding] = check(Project.find(book.root))
    assert (finding.file, finding.line) == (book.root / "docs/index.md", 3)
