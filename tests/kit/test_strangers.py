"""Adapters of at most twelve lines put code before the laws that was not written for them."""

import sys
from pathlib import Path

import pytest

from gptspec_laws import judge
from litspec.implementations import load
from litspec.outcomes import Outcome
from litspec.pages import LawKind

FOLDER = Path(__file__).parents[1] / "strangers"
ADAPTERS = [FOLDER / "nanogpt" / f"{path}.py" for path in ("attention/multihead", "gpt/layer_norm")]


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER / "stand_in")
    yield
    sys.modules.pop("model", None)


def path(file):
    return file.relative_to(FOLDER / "nanogpt").with_suffix("").as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("file", ADAPTERS, ids=path)
def test_all_mathematics_holds_where_code_is_right(file, stand_in):
    verdict = judge(load(file, f"strangers.{file.stem}"), path(file), seconds=0, explain=False)
    kinds = {law.name: law.kind for law in verdict.concept.page.laws}
    fell = {one["law"] for one in verdict.broken if kinds[one["law"]] is LawKind.MATHEMATICS}
    assert all(law.startswith("rejects") for law in fell)
    held = [one for one in verdict.results if one["outcome"] == Outcome.PASSED]
    assert sum(kinds[one["law"]] is LawKind.MATHEMATICS for one in held) >= 3
