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
    "loss too low": "symptoms/",
    "why is my loss not decreasing": "symptoms/",
    "validation loss lower than training loss": "symptoms/",
    "the model repeats itself": "symptoms/",
    "out of memory": "symptoms/",
    "judge my code": "yours/",
    "RoPE": "positions/rotary/",
    "positional embedding": "positions/learned/",
    "positional encoding": "positions/sinusoidal/",
    "what is a token": "tokenization/words/",
    "BPE": "tokenization/bpe/",
    "special tokens": "tokenization/words/",
    "query key value": "attention/self_attention/",
    "multi-head attention": "attention/multihead/",
    "residual connection": "gpt/block/",
    "weight tying": "gpt/model/",
    "transformer": "gpt/model/",
    "backpropagation": "training/loop/",
    "gradient accumulation": "training/loop/",
    "exploding gradients": "training/optimizer/",
    "learning rate warmup": "training/schedule/",
    "mixed precision": "training/precision/",
    "cross entropy": "training/loss/",
    "perplexity": "training/loss/",
    "resume training": "training/checkpoint/",
    "nucleus": "generation/decoding/",
    "nucleus sampling": "generation/decoding/",
    "beam search": "generation/decoding/",
    "left padding": "generation/streaming/",
    "speculative decoding": "generation/speculative/",
}


@pytest.fixture(scope="module")
def search(host, browser):
    """Type a query, and return the address of the first result."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{host}/symptoms/")
    page.keyboard.press("/")
    box = page.locator(".md-search__input")
    results = page.locator(".md-search-result__item > a")

    def first(query):
        for text in ("", query):  # results come once the text is there and a key goes up
            box.fill(text)
            box.press("End")
            results.first.wait_for(state="attached" if text else "detached", timeout=30_000)
        return results.first.evaluate("(one) => one.href").removeprefix(f"{host}/")

    yield first
    context.close()


@pytest.fixture(scope="module")
def entries():
    """What the search box knows."""
    return json.loads((SITE / "search/search_index.json").read_text(encoding="utf-8"))["docs"]


@pytest.mark.parametrize("query", FIRST)
def test_the_right_page_comes_first(query, search):
    assert re.split(r"[?#]", search(query))[0] == FIRST[query]


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
