"""What keeps people out: axe-core's serious findings, in light and in dark."""

import pytest
from check_pages import PAGES

BAD = ("serious", "critical")
COLOURS = ["color-contrast", "link-in-text-block"]
OF_COLOURS = {"runOnly": {"type": "rule", "values": COLOURS}, "resultTypes": ["violations"]}
OF_THE_REST = {
    "rules": {name: {"enabled": False} for name in COLOURS},
    "resultTypes": ["violations"],
}

# axe takes a minute for the colours of ten thousand elements. Those whose text looks the same on
# the same ground are of one kind: one of each kind is marked, in either theme.
MARKED = """() => {
  for (const scheme of ["slate", "default"]) {
    document.body.setAttribute("data-md-color-scheme", scheme);
    const seen = new Set();
    for (const one of document.querySelectorAll("body *")) {
      const written = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if (!written || !one.checkVisibility()) continue;
      const {color, fontSize, fontWeight, textDecorationLine} = getComputedStyle(one);
      const around = one.tagName === "A" ? getComputedStyle(one.parentElement).color : "";
      const kind = [color, fontSize, fontWeight, textDecorationLine, around];
      for (let box = one; box; box = box.parentElement) {
        const {backgroundColor, opacity} = getComputedStyle(box);
        kind.push(opacity, backgroundColor);
        if (backgroundColor.startsWith("rgb(")) break;
      }
      if (seen.has(kind.join())) continue;
      seen.add(kind.join());
      one.setAttribute("data-kind", "");
    }
  }
}"""
# Coloured words of code that are not marked are words.
THINNED = """() => {
  for (const one of [...document.querySelectorAll("code span")].reverse())
    if (!one.matches("[data-kind], :has([data-kind])")) one.replaceWith(...one.childNodes);
}"""
# And for the colours, all that is not marked goes.
PRUNED = """() => {
  for (const one of document.querySelectorAll("body *:not([data-kind], :has([data-kind]))"))
    if (!one.closest("[data-kind]")) one.remove();
}"""


@pytest.mark.parametrize("name", PAGES)
def test_axe_has_no_serious_finding(name, host, browser):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{host}/{'' if name == '.' else name + '/'}")
    page.add_style_tag(content="* { transition: none !important }")  # colours change at once
    page.evaluate(
        "document.querySelectorAll('article details').forEach((one) => { one.open = true })"
    )
    wrong = []

    def look(what, options):
        for one in Axe().run(page, options=options).response["violations"]:
            if one["impact"] in BAD:
                nodes = [
                    f"{node['target']} {node.get('failureSummary', '')[:300]}"
                    for node in one["nodes"]
                ]
                wrong.append(f"{what}: {one['id']}, {len(nodes)} times: " + "\n   ".join(nodes[:3]))

    page.evaluate(MARKED)
    page.evaluate(THINNED)
    look("anywhere", OF_THE_REST)
    page.evaluate(PRUNED)
    for scheme in ("default", "slate"):
        page.evaluate(f"document.body.setAttribute('data-md-color-scheme', '{scheme}')")
        look(f"in the scheme {scheme}", OF_COLOURS)
    context.close()
    assert not wrong, "\n".join(wrong)
