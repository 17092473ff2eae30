"""Things to touch: each takes over its box, answers keys, and leaves a figure without scripts."""

import re

import pytest

from conftest import SITE

BOX = re.compile(r'<div data-touch="([^"]+)"')
FOUND = [
    (file.parent.relative_to(SITE).as_posix(), scripts.split()[-1])
    for file in sorted(SITE.rglob("index.html"))
    for scripts in BOX.findall(file.read_text(encoding="utf-8"))
]
PAGES = {name: page for page, name in FOUND}
NUMBER = re.compile(r"(?<![\w.])−?\d+(?:\.\d+)?")


@pytest.fixture
def visit(host, browser):
    """A call that opens the page of a thing to touch and returns its box; no error may be said."""
    contexts, wrong = [], []

    def opened(name, *, at=None, scripts=True, width=1280, **settings):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda one: at or (one.type == "error" and wrong.append(one.text)))
        page.on("pageerror", lambda error: at or wrong.append(str(error)))
        page.goto(f"{at or host}/{PAGES[name]}/" + ("index.html" if at else ""))
        box = page.locator(f"[data-touch$='{name}']")
        if scripts:
            box.locator("input, button, textarea").first.wait_for()
        return box

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def numbers(box):
    """All numbers that are shown in tables."""
    return NUMBER.findall(" ".join(box.locator("td").all_inner_texts()))


def press(box, key, slider=0):
    """Press a key on a slider."""
    box.locator("input[type=range]").nth(slider).press(key)


@pytest.mark.parametrize(("page", "name"), FOUND)
def test_a_figure_is_there_without_scripts(page, name, visit):
    box = visit(name, scripts=False)
    assert box.is_visible()
    assert box.bounding_box()["height"] > 60
    assert not box.locator("input, button, textarea").count()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(("page", "name"), FOUND)
def test_nothing_moves_when_a_script_takes_over(page, name, width, visit):
    box = visit(name, width=width)
    least, height = box.evaluate("(one) => [getComputedStyle(one).minHeight, one.offsetHeight]")
    assert height <= float(least.removesuffix("px")) + 1, "give the box this height in site.css"


@pytest.mark.parametrize(("page", "name"), FOUND)
def test_it_works_from_a_disk(page, name, visit):
    assert visit(name, at=f"file://{SITE}").locator("input, button, textarea").count()


@pytest.mark.parametrize(("page", "name"), FOUND)
def test_every_control_has_a_name_and_shows_where_the_keyboard_is(page, name, visit):
    box = visit(name)
    for control in box.locator("input, button, textarea, select").all():
        if not control.is_enabled():
            continue
        named = "(one) => one.labels?.[0]?.innerText || one.ariaLabel || one.innerText"
        assert control.evaluate(named).strip()
        control.focus()
        control.page.keyboard.press("Shift")  # from now on the keyboard is used
        assert control.evaluate("(one) => getComputedStyle(one).outlineStyle") != "none"
    assert box.locator("[aria-live]").count()


def test_the_law_breaks_where_the_mask_is_dragged(visit):
    still = numbers(visit("causal", scripts=False))
    box = visit("causal")
    assert numbers(box)[: len(still)] == still
    law = box.locator(".says")
    assert "no-future holds" in law.inner_text()
    for key, said in [
        ("ArrowRight", "no-future is broken"),
        ("ArrowRight", "no-future is broken"),
        ("Home", "first-reads-itself is broken"),
        ("ArrowRight", "no-future holds"),
    ]:
        press(box, key)
        assert said in law.inner_text()
    box.scroll_into_view_if_needed()
    seen = box.locator("td.hidden").first.bounding_box()  # row The, column cat
    mouse = box.page.mouse
    mouse.move(seen["x"] + 1, seen["y"] + seen["height"] / 2)
    mouse.down()
    mouse.move(seen["x"] + seen["width"], seen["y"] + seen["height"] / 2, steps=4)
    mouse.up()
    assert "no-future is broken" in law.inner_text()
    assert "0.12 The + 0.88 cat" in law.inner_text()
    assert "0.27 The + 0.73 sat" in law.inner_text()
