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


def test_a_finger_drags_the_mask(visit):
    box = visit("causal", width=360, has_touch=True)
    box.scroll_into_view_if_needed()
    seen = box.locator("td.hidden").last.bounding_box()  # of the weights: row cat, column sat
    x, y = seen["x"], seen["y"] + seen["height"] / 2
    network = box.page.context.new_cdp_session(box.page)
    for type, points in [
        ("touchStart", [{"x": x, "y": y}]),
        *(("touchMove", [{"x": x + step, "y": y}]) for step in range(4, 36, 4)),
        ("touchEnd", []),
    ]:
        network.send("Input.dispatchTouchEvent", {"type": type, "touchPoints": points})
    assert box.locator("input").input_value() == "2"
    assert "no-future is broken" in box.locator(".says").inner_text()


def test_the_next_merge_joins_the_most_frequent_pair(visit):
    box = visit("tokenizers")
    pieces = box.locator(".pairs .tokens > span")
    before, pair = pieces.count(), box.locator(".counts li").first.inner_text()
    box.get_by_role("button", name="Next merge").press("Enter")
    assert pieces.count() == before - int(pair.split()[-1].removesuffix("×"))
    joined = "".join(pair.split()[:3:2])
    assert pieces.evaluate_all("(all) => all.map((one) => one.firstChild.data)").count(joined) == 2
    box.get_by_label("Text").fill("aaaa")
    assert box.locator(".words .tokens").inner_text().split() == ["aaaa", "0"]
    assert box.locator(".bytes .count").inner_text() == "4 ids"


def test_settings_drop_words_and_a_draw_shows_ten(visit):
    still = visit("settings", scripts=False).locator(".alternatives").inner_text()
    box = visit("settings")
    assert box.locator(".alternatives").inner_text().split() == still.split()
    box.get_by_role("button", name="Draw").press("Enter")
    assert box.locator(".drawn span").count() == 10
    press(box, "Home", slider=1)  # top-k of 1
    assert re.match(r"1 of \d+ words", box.locator(".says").inner_text())
    assert "100.0 %" in box.locator(".alternatives li").first.inner_text()
    box.get_by_role("combobox").select_option(index=1)
    assert "100.0 %" in box.locator(".alternatives li").first.inner_text()


@pytest.mark.skipif("writer" not in PAGES, reason="this build of the book has no model")
def test_the_model_writes_and_can_be_led_another_way(visit):
    box = visit("writer")
    written = box.locator(".written > span")
    before, likeliest = written.count(), box.locator(".alternatives").inner_text()
    box.get_by_role("button", name="One token").press("Enter")
    box.page.wait_for_function(f"document.querySelectorAll('.written > span').length > {before}")
    # The token that comes is one of the model's, and the page's Python thought so too.
    slider = box.get_by_role("slider").first
    if slider.count():
        slider.press("ArrowLeft")
        assert box.locator(".alternatives").inner_text().split() == likeliest.split()
        slider.press("End")
    box.locator(".alternatives button").nth(1).press("Enter")
    assert written.count() == before + 2
    box.get_by_label("The text begins with").fill("def ")
    box.get_by_role("button", name="Begin").press("Enter")
    box.page.wait_for_function("document.querySelectorAll('.written > span').length < 9")
    assert "".join(written.all_text_contents()) == "def "


def test_windows_slide_over_the_words(visit):
    still = visit("windows", scripts=False).locator("table").inner_text()
    box = visit("windows")
    grid = box.locator("table").first
    assert grid.inner_text() == still
    shown = box.locator("table").last
    assert " ".join(shown.inner_text().split()).endswith(
        "inputs The cat sat on targets cat sat on the"
    )
    press(box, "ArrowRight", 2)
    assert " ".join(shown.inner_text().split()).endswith(
        "inputs sat on the café targets on the café mat"
    )
    press(box, "ArrowRight", 1)
    press(box, "ArrowRight", 1)  # a stride of 4: one window is left, and it is chosen
    assert box.locator(".says").inner_text() == "1 window. Left aside at the end: café mat ."
    assert " ".join(shown.inner_text().split()).endswith(
        "inputs The cat sat on targets cat sat on the"
    )
    press(box, "Home", 0)
    press(box, "Home", 1)
    assert "7 windows. No word is read twice." in box.locator(".says").inner_text()
    assert len(grid.locator("td.asked").all()) == 7


def test_the_score_stays_where_both_tokens_move(visit):
    still = visit("rotary", scripts=False).locator("svg text").all_text_contents()
    box = visit("rotary")
    says = box.locator(".says")
    score = says.locator("strong").inner_text()
    assert still.count(score.replace("−", "-")) == 2
    press(box, "ArrowRight", 2)
    assert says.locator("strong").inner_text() == score
    assert "Both have moved" in says.inner_text()
    assert "at 3" in says.inner_text()
    press(box, "ArrowRight", 0)
    assert says.locator("strong").inner_text() != score
    assert "One has moved" in says.inner_text()
    press(box, "ArrowRight", 1)
    assert says.locator("strong").inner_text() == score


def test_the_attentions_show_what_another_word_reads(visit):
    still = visit("heads", scripts=False).locator("table").inner_text()
    box = visit("heads")
    assert box.locator("table").inner_text() == still
    assert "head 1: cat; head 2: The" in box.locator(".says").inner_text()
    press(box, "Home")
    assert "causal: The; head 1: The; head 2: The" in box.locator(".says").inner_text()
    assert not box.locator("tr:nth-child(n + 3) td.ahead").count()


def test_a_line_is_judged_as_it_is_typed(visit):
    box = visit("judge")
    says = box.locator(".says")
    assert "5 of 5 laws hold." in says.inner_text()
    line = box.locator("textarea")
    typed = line.input_value()
    line.fill(typed.replace("j > t", "j > t + 1"))
    says.get_by_text("1 of 5 laws hold.").wait_for()
    assert "changed to\t0, 1" in says.inner_text()
    assert "expected 0, got 0.7311" in says.inner_text()
    line.fill("softmax(")
    says.get_by_text("Cannot be run.").wait_for()
    box.get_by_role("button", name="after the softmax").press("Enter")
    assert "BROKEN rows-are-distributions" in says.inner_text()
    assert "expected 1, got 0.5" in says.inner_text()


@pytest.mark.skipif("writer" not in PAGES, reason="this build of the book has no model")
def test_a_page_from_a_disk_says_why_no_model_comes(visit):
    box = visit("writer", at=f"file://{SITE}")
    box.get_by_role("button", name="Write").press("Enter")
    box.get_by_text("nox -s serve").wait_for()
