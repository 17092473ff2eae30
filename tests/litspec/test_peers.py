"""Other people's code behind an adapter: what holds, deviates as declared, or is not offered."""

import json

import pytest

from litspec.check import check
from litspec.pages import Project

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


def test_a_declared_deviation_must_fail(peer):
    declared = 'DEVIATIONS = {"rejects-text": "other 1.0 doubles texts"}\n'
    outcomes, result = peer(declared + "def double(number): return number * 2\n")
    assert outcomes == {"is-even": "passed", "rejects-text": "deviates"}
    assert result.ret == 0
    outcomes, result = peer(declared + GOOD)
    assert outcomes["rejects-text"] == "failed"
    assert result.ret == 1


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
        (ADAPTER, 'DEVIATIONS = {"is-odd": "why"}\n', "DEVIATIONS names is-odd"),
        (ADAPTER, "DEVIATIONS = set(laws)\n", "DEVIATIONS maps laws to reasons"),
        ("tests/peers/other/arithmetic/half.py", "", "named like no concept"),
    ],
)
def test_the_binding_of_adapters_is_checked(book, name, text, message):
    file = book.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert [message in one.message for one in check(Project.find(book.root))] == [True]
