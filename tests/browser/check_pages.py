"""Each page, visited: what a reader would see go wrong."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from conftest import SITE

WIDTHS = (320, 360, 600, 768, 1024, 1440)
PAGES = sorted(file.parent.relative_to(SITE).as_posix() for file in SITE.rglob("index.html"))
assert PAGES, f"no page is in {SITE}"
HEAVIEST = 500_000  # bytes of a page as it is sent, with its styles, scripts and fonts
SMALLEST = 9  # pixels of a letter in a figure, on a telephone
SHIFT = 0.02  # of the screen may move while fonts arrive

# What is wrong at the width that the window has.
AT_WIDTH = """() => {
  const wrong = [], root = document.documentElement, column = document.querySelector("article");
  if (root.scrollWidth > root.clientWidth + 1) {
    const wide = [...document.querySelectorAll("article *")].filter((one) =>
      one.getBoundingClientRect().right > root.clientWidth + 1 && one.checkVisibility());
    wrong.push(`scrolls sideways: ${root.scrollWidth}, by ${wide.slice(0, 2).map((one) =>
      one.outerHTML.slice(0, 120)).join(" and ")}`);
  }
  const edge = (one) => one.getBoundingClientRect().right;
  for (const table of column.querySelectorAll("table")) {
    let seen = edge(table);
    for (let box = table.parentElement; box !== column; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== "visible") seen = Math.min(seen, edge(box));
    if (seen > edge(column) + 1)
      wrong.push(`a table leaves its column: ${table.innerText.slice(0, 60)}`);
  }
  return wrong;
}"""

ON_A_TELEPHONE = """(smallest) => {
  const wrong = [];
  for (const text of document.querySelectorAll("svg.figure text")) {
    const scale = Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
    const size = parseFloat(getComputedStyle(text).fontSize) * scale;
    if (size < smallest - 0.05) wrong.push(`${size.toFixed(1)} pixels: ${text.textContent}`);
  }
  for (const code of document.querySelectorAll(".language-diff code"))
    if (code.scrollWidth > code.clientWidth + 1) wrong.push(`a diff is cut: ${code.innerText}`);
  return wrong;
}"""

ON_A_DESK = """() => {
  const wrong = [], article = document.querySelector("article");
  for (const one of article.querySelectorAll(".doc-signature pre"))
    if (one.scrollWidth > one.clientWidth + 1) wrong.push(`a signature is cut: ${one.innerText}`);
  for (const one of document.querySelectorAll("summary a"))
    wrong.push(`a link in a summary: ${one.outerHTML}`);
  for (const one of article.querySelectorAll(".arithmatex"))
    if (!one.querySelector("math")) wrong.push(`not set: ${one.innerText}`);
  for (const one of article.querySelectorAll(".katex-error"))
    wrong.push(`a wrong formula: ${one.title}`);
  const links = [...article.querySelectorAll("p a[href]:not(.headerlink):not(.md-button)")];
  const plain = links.filter((one) => !one.closest(".bound-id, .doc-heading"))[0];
  if (plain && !getComputedStyle(plain).textDecorationLine.includes("underline"))
    wrong.push(`a link without a line: ${plain.outerHTML}`);
  return wrong;
}"""

SHIFTED = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value;
  }).observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(sum), 150);
})"""


class Names(HTMLParser):
    """The names on a page, and where it leads."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links = [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if told.get("id"):
            self.ids.append(told["id"])
        self.links += [told[one] for one in ("href", "src") if told.get(one)]


@pytest.fixture(scope="session")
def names():
    """All pages, read once."""
    return {page: Names(SITE / page / "index.html") for page in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound_at_every_width(name, host, browser):
    context = browser.new_context(color_scheme="light", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    wrong, sent = [], Counter()
    page.on("console", lambda one: one.type in ("error", "warning") and wrong.append(one.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def asked(request):
        if not request.url.startswith((host, "data:")):
            wrong.append(f"asks another host: {request.url}")

    page.on("request", asked)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    urls = {}
    network.on("Network.requestWillBeSent", lambda one: urls.update({one["requestId"]: one}))

    def arrived(one):
        sent[urls[one["requestId"]]["request"]["url"]] += int(one["encodedDataLength"])

    network.on("Network.loadingFinished", arrived)
    page.goto(f"{host}/{'' if name == '.' else name + '/'}")
    page.wait_for_load_state("networkidle")
    if (shift := page.evaluate(SHIFTED)) > SHIFT:
        wrong.append(f"moves while it loads, by {shift:.3f}")
    weight = sum(size for url, size in sent.items() if "/search/" not in url)
    if weight > HEAVIEST:
        wrong.append(f"weighs {weight:,} bytes: {sent.most_common(4)}")
    page.add_style_tag(content="* { transition: none !important }")  # a new width at once
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    wrong += page.evaluate(ON_A_DESK)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wrong += [f"at {width}: {one}" for one in page.evaluate(AT_WIDTH)]
        if width == 360:
            wrong += page.evaluate(ON_A_TELEPHONE, SMALLEST)
    context.close()
    assert not wrong, "\n".join(wrong)


def test_every_link_leads_somewhere(names):
    wrong = []
    for page, read in names.items():
        here = f"http://site/{'' if page == '.' else page + '/'}"
        for link in read.links:
            url, anchor = urldefrag(urljoin(here, link))
            parts = urlsplit(url)
            if parts.netloc != "site":
                continue
            path = unquote(parts.path).strip("/") or "."
            if path in names:
                if anchor and unquote(anchor) not in names[path].ids:
                    wrong.append(f"{page}: {link} names nothing")
            elif not (SITE / path).is_file():
                wrong.append(f"{page}: {link} is not there")
    assert not wrong, "\n".join(wrong)


def test_no_name_is_given_twice(names):
    twice = {
        page: [name for name, count in Counter(read.ids).items() if count > 1]
        for page, read in names.items()
    }
    assert not {page: ids for page, ids in twice.items() if ids}


def test_formulas_can_be_read_without_scripts(host, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{host}/training/loss/")
    formula = page.locator(".katex-display .katex-html").first
    assert formula.is_visible()
    assert formula.bounding_box()["height"] > 20
    assert page.locator(".katex-display math").count() > 1
    raw = re.compile(r"\\\(|\\\[|\\frac|\\text\{")
    assert not raw.search(page.locator("article").inner_text())
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_links_have_the_colour_of_the_book(theme, host, browser):
    colour = {"light": "rgb(15, 118, 110)", "dark": "rgb(45, 212, 191)"}[theme]
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    page.goto(f"{host}/training/loss/")
    link = page.locator("article > p > a[href]").first
    assert link.evaluate("(one) => getComputedStyle(one).color") == colour
    context.close()


def test_a_changed_word_is_marked(host, browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{host}/attention/causal/")
    diff = page.locator(".mistake:has([id='causal.mask-off-by-one']) .language-diff")
    assert diff.locator("mark").all_inner_texts() == ["1", "2"]
    context.close()


def test_every_page_says_what_it_is(names):
    said = {}
    for page in names:
        text = Path(SITE / page / "index.html").read_text(encoding="utf-8")
        found = re.search(r'<meta name="description" content="([^"]*)"', text)
        said[page] = found[1] if found else ""
    assert not [page for page, text in said.items() if len(text) < 20]
    assert not [text for text, count in Counter(said.values()).items() if count > 1]
