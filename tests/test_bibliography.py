"""Every work that a page cites has an entry, with a link, in the bibliography."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
LIST = DOCS / "bibliography.md"
FENCE = re.compile(r"^ *(`{3,}).*?^ *\1", re.DOTALL | re.MULTILINE)
NAME = r"[A-ZÀ-Ý][\w’-]+(?: (?:Team|Workshop|[A-ZÀ-Ý][\w’-]+))?"
# `Chen et al. 2016`, `Ba, Kiros and Hinton 2016`, and at the head of a line `- Gage 1994, *Title*`.
CITED = re.compile(
    rf"({NAME})(?:, {NAME})*(?: et al\.|(?:,| and| &) {NAME}) \(?(\d{{4}})[ab]?\b"
    rf"|^- ({NAME}) (\d{{4}})[ab]?, \*",
    re.MULTILINE,
)
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
PAGES = sorted(page for page in DOCS.rglob("*.md") if page not in (LIST, DOCS / "changelog.md"))


def works(text):
    found = CITED.finditer(FENCE.sub("", text))
    return {(one[1] or one[3], one[2] or one[4]) for one in found}


KNOWN = works(LIST.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_what_a_page_cites_has_an_entry(page):
    text = page.read_text(encoding="utf-8")
    assert works(text) <= KNOWN, "docs/bibliography.md lacks what the page cites"
    assert set(ARXIV.findall(text)) <= set(ARXIV.findall(LIST.read_text(encoding="utf-8")))


def test_every_entry_has_a_link_or_says_where_it_was_printed():
    entries = [line for line in LIST.read_text("utf-8").splitlines() if line.startswith("- ")]
    printed = ("The C Users Journal", "Academic Press", "Free Press", "ICML 2011")
    assert len(entries) > 80
    assert not [
        one
        for one in entries
        if "](https://" not in one and not any(where in one for where in printed)
    ]
