"""What keeps people out: axe-core's serious findings, in light and in dark."""

import pytest
from check_pages import PAGES

BAD = ("serious", "critical")
IN_THE_DARK = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}

# Of thousands of coloured words of code, two of each kind are looked at: axe takes its time.
THINNED = """() => {
  const seen = new Map();
  for (const one of [...document.querySelectorAll("article code span")].reverse()) {
    const box = one.closest(".highlight")?.className;
    const kind = [one.className, one.parentElement.className, box].join();
    seen.set(kind, (seen.get(kind) ?? 0) + 1);
    if (seen.get(kind) > 2) one.replaceWith(...one.childNodes);
  }
}"""


@pytest.mark.parametrize("name", PAGES)
def test_axe_has_no_serious_finding(name, host, browser):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{host}/{'' if name == '.' else name + '/'}")
    page.evaluate(
        "document.querySelectorAll('article details').forEach((one) => { one.open = true })"
    )
    page.evaluate(THINNED)
    page.add_style_tag(content="* { transition: none !important }")  # colours change at once
    wrong = []
    for theme, options in (("light", {"resultTypes": ["violations"]}), ("dark", IN_THE_DARK)):
        if theme == "dark":
            page.evaluate("document.body.setAttribute('data-md-color-scheme', 'slate')")
        for one in Axe().run(page, options=options).response["violations"]:
            if one["impact"] in BAD:
                nodes = [
                    f"{node['target']} {node.get('failureSummary', '')[:300]}"
                    for node in one["nodes"]
                ]
                wrong.append(
                    f"{theme}: {one['id']}, {len(nodes)} times: " + "\n   ".join(nodes[:3])
                )
    context.close()
    assert not wrong, "\n".join(wrong)
