"""The search box, typed into as a reader would."""

import json
import re

import pytest

from conftest import SITE

FIRST = {
    "off by one mask": "attention/causal/",
    "NaN loss": "symptoms/",
    "temperature": "generation/decoding/",
    "KV cache": "attention/cache/",
    "overfitting": "sampling/split/",
    "how to install": "",
    "RoPE": "positions/rotary/",
    "backpropagation": "training/loop/",
    "nucleus": "generation/decoding/",
}


@pytest.fixture(scope="module")
def entries():
    """What the search box knows."""
    return json.loads((SITE / "search/search_index.json").read_text(encoding="utf-8"))["docs"]


@pytest.mark.parametrize("query", FIRST)
def test_the_right_page_comes_first(query, host, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{host}/symptoms/")
    page.keyboard.press("/")
    page.keyboard.type(query)
    first = page.locator(".md-search-result__item a").first
    first.wait_for(timeout=30_000)
    page.wait_for_timeout(500)  # results come as they are found
    found = first.evaluate("(one) => one.href").removeprefix(f"{host}/")
    context.close()
    assert re.split(r"[?#]", found)[0] == FIRST[query]


def test_every_law_and_mistake_is_found_by_its_words(entries):
    titles = {entry["location"]: entry["title"] for entry in entries}
    bound = re.compile(r'<h3 class="bound-title" id="([^"]+)">([^<]*)<')
    wrong = []
    for file in SITE.rglob("index.html"):
        page = file.parent.relative_to(SITE).as_posix()
        for id, title in bound.findall(file.read_text(encoding="utf-8")):
            if titles.get(f"{page}/#{id}") != title:
                wrong.append(f"{page}#{id}")
    assert not wrong


def test_no_result_shows_raw_tex(entries):
    raw = re.compile(r"\\(?:frac|text|sum|sqrt|left|ln|le|cdot|operatorname|begin)\b|\\\(|\\\[")
    code = re.compile(r"<(pre|code)>.*?</\1>", re.DOTALL)
    wrong = [
        f"{entry['location']}: {found[0]}"
        for entry in entries
        if (found := raw.search(entry["title"] + " " + code.sub("", entry["text"])))
    ]
    assert not wrong
