"""Other people's code behind an adapter: what holds, deviates as declared, or is not offered."""

import json
from pathlib import Path

import markdown
import pytest

from litspec.check import check
from litspec.pages import Project

ROOT = Path(__file__).parents[2]
ADAPTER = "tests/peers/other/arithmetic/double.py"
GOOD = """
def double(number):
    if isinstance(number, str):
        raise TypeError("no text")
    return number + number
"""


@pytest.fixture
def peer(book, run):
    """Run the laws on an adapter with this text; return the outcomes by law and pytest's result."""

    def judge(text):
        file = book.root / ADAPTER
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        result = run("tests", "--peers", "--laws-report=peers.json")
        record = json.loads((book.root / "peers.json").read_text())["concepts"]
        seen = record["arithmetic/double"]["results"]
        assert {one["implementation"] for one in seen} == {"other"}
        return {one["law"]: one["outcome"] for one in seen}, result

    return judge


def test_a_peer_that_keeps_the_laws_passes(peer):
    outcomes, result = peer(GOOD)
    assert outcomes == {"is-even": "passed", "rejects-text": "passed"}
    assert result.ret == 0


def test_a_deviation_that_is_not_declared_fails(peer):
    outcomes, result = peer("def double(number): return number * 2\n")
    assert outcomes == {"is-even": "passed", "rejects-text": "failed"}
    assert result.ret == 1


DECLARED = 'DEVIATIONS = {"rejects-text": ("other 1.0 doubles texts", "accepted a text")}\n'


def test_a_declared_deviation_must_fail(peer):
    outcomes, result = peer(DECLARED + "def double(number): return number * 2\n")
    assert outcomes == {"is-even": "passed", "rejects-text": "deviates"}
    assert result.ret == 0
    outcomes, result = peer(DECLARED + GOOD)
    assert outcomes["rejects-text"] == "survived"
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the deviation is claimed, but the law holds"])


def test_a_deviation_of_another_kind_than_declared_fails(peer):
    other = "def double(number):\n    return number * 2 if number != 'a' else {}[number]\n"
    outcomes, result = peer(DECLARED + other)
    assert outcomes["rejects-text"] == "failed"
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*not as declared ('accepted a text')*"])


@pytest.mark.parametrize(("most", "outcome"), [(0.5, "deviates"), (0.2, "failed")])
def test_a_deviation_is_as_large_as_declared(book, peer, most, outcome):
    book.edit(
        "tests/arithmetic/test_double.py",
        "    assert double.double(number) % 2 == 0\n",
        "    off = abs(double.double(number) - 2 * number)\n"
        '    assert off == 0, f"Absolute difference: {off}"\n',
    )
    declared = f'DEVIATIONS = {{"is-even": ("other 1.0 drifts", {most})}}\n'
    outcomes, _ = peer(declared + GOOD.replace("+ number", "+ number + min(abs(number), 3) / 10"))
    assert outcomes["is-even"] == outcome
    [seen] = [one for one in recorded(book) if one["law"] == "is-even"]
    if outcome == "deviates":
        assert (seen["largest"], seen["reason"]) == (pytest.approx(0.3), "other 1.0 drifts")


def recorded(book):
    content = json.loads((book.root / "peers.json").read_text())
    return content["concepts"]["arithmetic/double"]["results"]


def test_a_removed_or_changed_adapter_leaves_nothing_behind(book, peer, run):
    peer(DECLARED + "def double(number): return number * 2\n")
    twin = book.root / ADAPTER.replace("other", "twin")
    twin.parent.mkdir(parents=True)
    twin.write_text(GOOD)
    run("tests", "--peers", "--laws-report=peers.json")
    assert {one["implementation"] for one in recorded(book)} == {"other", "twin"}
    (book.root / ADAPTER).unlink()
    twin.write_text(GOOD + "\n")
    run("tests", "--peers", "--laws-report=peers.json", "-k", "is_even")
    assert [(one["implementation"], one["law"]) for one in recorded(book)] == [("twin", "is-even")]


def test_the_site_shows_a_deviation_whose_adapter_is_gone(book, run):
    file = book.root / ADAPTER
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(DECLARED + "def double(number): return number * 2\n")
    run("tests", "--peers")
    assert (book.root / "docs/assets/peers.json").exists()
    assert not (book.root / "build/laws.json").exists()
    file.unlink()
    (book.root / "docs/conformance.md").write_text("/// conformance\n///\n")
    text = (book.root / "docs/conformance.md").read_text()
    html = markdown.markdown(text, extensions=["litspec.blocks"])
    assert "other 1.0 doubles texts" in html


def test_one_peer_is_judged_alone(book, peer, run):
    peer(GOOD)
    twin = book.root / ADAPTER.replace("other", "twin")
    twin.parent.mkdir(parents=True)
    twin.write_text(GOOD)
    run("tests", "--peers=twin").assert_outcomes(passed=2)
    run("tests", "--peers").assert_outcomes(passed=4)
    result = run("tests", "--peers=twim")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no peer twim in tests/peers: did you mean twin?"])


@pytest.mark.parametrize(
    ("listed", "said"), [("", "absent_lib"), ("absent-lib==1.2  # why", "absent-lib==1.2")]
)
def test_an_absent_peer_says_how_to_install_it(book, run, listed, said):
    file = book.root / ADAPTER
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("import absent_lib.part\n" + GOOD)
    (book.root / "tests/peers/alone.txt").write_text(f"# some\n{listed}\n")
    result = run("tests", "--peers")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([f"install it: pip install {said}"])


def test_what_a_peer_lacks_is_not_offered_and_never_passed(peer):
    outcomes, result = peer("def triple(number): return 3 * number\n")
    assert outcomes == {"is-even": "not offered", "rejects-text": "not offered"}
    result.assert_outcomes(xfailed=2)


def test_examples_of_a_kind_that_a_peer_lacks_are_passed_over(peer):
    lacking = "def double(n):\n    if n == 3: raise NotImplementedError\n" + GOOD.split("\n", 2)[2]
    outcomes, _ = peer(lacking.replace("number", "n"))
    assert outcomes == {"is-even": "passed", "rejects-text": "passed"}
    outcomes, _ = peer("def double(n):\n    raise NotImplementedError\n")
    assert outcomes == {"is-even": "not offered", "rejects-text": "not offered"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (ADAPTER, 'DEVIATIONS = {"is-odd": ("why", "so")}\n', "DEVIATIONS names is-odd"),
        (ADAPTER, "DEVIATIONS = set(laws)\n", "DEVIATIONS maps each law to a reason"),
        (ADAPTER, 'DEVIATIONS = {"is-even": "why"}\n', "DEVIATIONS maps each law to a reason"),
        (ADAPTER, 'DEVIATIONS = {"is-even": ("", 1.0)}\n', "DEVIATIONS maps each law to a reason"),
        ("tests/peers/other/arithmetic/half.py", "", "named like no concept"),
    ],
)
def test_the_binding_of_adapters_is_checked(book, name, text, message):
    file = book.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert [message in one.message for one in check(Project.find(book.root))] == [True]


def test_the_adapter_on_the_contributing_page_is_as_it_stands():
    shown = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
    adapter = (ROOT / "tests/peers/torch/gpt/layer_norm.py").read_text(encoding="utf-8")
    assert f"```py\n{adapter}```" in shown
