"""What can be touched on the pages computes what the modules compute."""

import ast
import json
import math
import re
from pathlib import Path
from types import ModuleType

import pytest
import quickjs
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from gptspec.attention import causal, self_attention
from gptspec.positions import rotary
from gptspec.sampling import windows
from litspec.pages import Project

ROOT = Path(__file__).parent.parent
TOUCH = ROOT / "docs/assets/touch"
# JSON has no name for these.
WRITE = "(_, one) => typeof one === 'number' && !isFinite(one) ? `<${one}>` : one"


def javascript(*names):
    """Return a call of the last script's functions: `call("name", argument, …)`."""
    engine = quickjs.Context()
    engine.eval("globalThis.touch = {}")
    for name in names:
        engine.eval((TOUCH / f"{name}.js").read_text(encoding="utf-8"))

    def call(function, *arguments):
        given = ", ".join(
            json.dumps(one.tolist() if isinstance(one, torch.Tensor) else one) for one in arguments
        )
        told = engine.eval(f"JSON.stringify(touch.{names[-1]}.{function}({given}), {WRITE})")
        return json.loads(told.replace('"<', "").replace('>"', ""))

    return call


ATTENTION = javascript("attention")
CAUSAL = javascript("attention", "causal")
WINDOWS = javascript("windows")
ROTARY = javascript("rotary")
HEADS = javascript("heads")
JUDGE = javascript("attention", "judge")


@st.composite
def rows(draw, *shape, most=30.0):
    """Draw a matrix."""
    count = math.prod(shape)
    numbers = st.floats(-most, most, allow_subnormal=False)
    drawn = draw(st.lists(numbers, min_size=count, max_size=count))
    return torch.tensor(drawn, dtype=torch.float64).reshape(shape)


def same(got, expected):
    assert_close(
        torch.tensor(got, dtype=torch.float64),
        expected.double(),
        rtol=1e-12,
        atol=1e-12,
        equal_nan=True,
    )


@given(st.data(), st.integers(1, 6), st.integers(1, 4))
def test_attention_is_that_of_the_modules(data, time, d_head):
    queries, keys = data.draw(rows(time, d_head)), data.draw(rows(time, d_head))
    scores = ATTENTION("scores", queries, keys)
    same(ATTENTION("softmax", scores), self_attention.attention_weights(queries, keys))
    same(ATTENTION("causal", scores), causal.causal_weights(queries, keys))
    values = data.draw(rows(time, 3))
    mixed = ATTENTION("mix", ATTENTION("causal", scores), values)
    same(mixed, causal.causal_weights(queries, keys) @ values)


@given(st.data(), st.integers(1, 6))
def test_a_mask_is_moved_as_triu_moves_it(data, time):
    scores = data.draw(rows(time, time))
    diagonal = data.draw(st.integers(0, time))
    future = torch.ones(time, time, dtype=torch.bool).triu(diagonal)
    expected = scores.masked_fill(future, -math.inf).softmax(-1)
    same(ATTENTION("causal", scores, diagonal), expected)


@given(rows(3, 3, most=5.0), st.integers(0, 3))
def test_no_future_breaks_where_the_mask_lets_a_position_see_a_later_one(scores, diagonal):
    expected = {0: "first-reads-itself", 1: None}.get(diagonal, "no-future")
    assert CAUSAL("breaks", scores, diagonal) == expected
    two = CAUSAL("twoTokens", scores, diagonal)
    assert two["broken"] == (expected == "no-future")
    for word, shares in ((two["second"], two["before"]), (two["other"], two["after"])):
        both = [two["first"], word]
        future = torch.ones(2, 2, dtype=torch.bool).triu(diagonal)
        weights = scores[both][:, both].masked_fill(future, -math.inf).softmax(-1)
        reads = torch.zeros(3, dtype=torch.float64)
        same(shares, reads.index_add(0, torch.tensor(both), weights[0]))


@given(st.integers(0, 7), st.integers(0, 6), st.integers(0, 3))
def test_an_edge_is_where_it_is_dragged_to(row, diagonal, most):
    column = row + diagonal  # the first hidden one
    assert CAUSAL("edge", column, row + 0.5, most) == min(diagonal, most)


@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_windows_are_those_of_the_module(context_length, stride, data):
    n_tokens = data.draw(st.integers(context_length + 1, 20))
    tokens = torch.arange(100, 100 + n_tokens)
    inputs, targets = windows.windows(tokens, context_length, stride)
    assert WINDOWS("count", n_tokens, context_length, stride) == len(inputs)
    for index, (read, asked) in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True)):
        told = WINDOWS("window", tokens, index, context_length, stride)
        assert told == {"inputs": read, "targets": asked}
        places = WINDOWS("places", n_tokens, index, context_length, stride)
        assert [100 + place for place, kind in enumerate(places) if kind == "read"] == read
        assert [100 + place for place, kind in enumerate(places) if kind == "asked"] == asked[-1:]


@given(st.data(), st.integers(1, 4), st.integers(0, 60), st.sampled_from([100.0, 10_000.0, 5e5]))
def test_a_vector_is_turned_as_the_module_turns_it(data, half, position, theta):
    x = data.draw(rows(2 * half))
    expected = rotary.rotate(x[None], start=position, theta=theta)[0]
    assert_close(
        torch.tensor(ROTARY("rotate", x, position, theta), dtype=torch.float64),
        expected,
        rtol=1e-12,
        atol=1e-11,
    )


@given(st.data(), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_score_is_that_of_the_module_and_stays_where_both_move(data, t, j, more):
    query, key = data.draw(rows(4, most=2.0)), data.draw(rows(4, most=2.0))
    turned = [rotary.rotate(x[None], start=at)[0] for x, at in ((query, t), (key, j))]
    same(ROTARY("score", query, key, t, j), turned[0] @ turned[1])
    same(ROTARY("score", query, key, t + more, j + more), turned[0] @ turned[1])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_what_is_read_most_has_the_largest_weights(shares):
    assert HEADS("most", shares) == [n for n, share in enumerate(shares) if share == max(shares)]


CONCEPT = Project.find(ROOT).concepts["attention/causal"]


def literal(name):
    """Return a literal that the page of the judge assigns to a name."""
    page = (ROOT / "docs/yours.md").read_text(encoding="utf-8")
    tree = ast.parse(re.search(rf"^{name} = .*?(?=^\S+ = )", page, re.MULTILINE | re.DOTALL)[0])
    return ast.literal_eval(tree.body[0].value)


EXPRESSIONS = literal("expressions")


def with_mistake(name):
    """Return the module with a mistake of its page made, and the laws that catch it."""
    source, caught = CONCEPT.module.read_text(encoding="utf-8"), ()
    if name:
        mistake = next(one for one in CONCEPT.page.mistakes if one.name == name)
        source, caught = mistake.apply(source), mistake.caught_by
    module = ModuleType("mistaken")
    exec(source, vars(module))  # the book's own code
    return module, {law.partition(".")[2] for law in caught}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_line_is_the_module_with_its_mistake_and_breaks_the_laws_that_catch_it(name):
    expression, mistake = EXPRESSIONS[name]
    module, caught = with_mistake(mistake)

    @given(st.data(), st.integers(1, 5))
    def equal(data, time):
        queries, keys = data.draw(rows(time, 2)), data.draw(rows(time, 2))
        scores = ATTENTION("scores", queries, keys)
        same(JUDGE("weights", expression, scores), module.causal_weights(queries, keys))

    equal()
    found = {one["law"]: one["found"] for one in JUDGE("verdict", expression)}
    broken = {law for law, example in found.items() if example}
    assert list(found) == JUDGE("laws")
    assert broken >= caught & set(found)
    assert bool(broken) == bool(mistake)
    assert all(len(example["text"]) <= 2 for example in found.values() if example)


def test_the_laws_in_the_page_are_laws_of_the_concept():
    assert JUDGE("laws") == literal("here")
    assert set(JUDGE("laws")) <= {law.name for law in CONCEPT.page.laws}


@pytest.mark.parametrize(
    "expression", ["scores.map((row) => row.slice(1))", "1", "masked(", "nothing"]
)
def test_a_line_that_gives_no_weights_is_told_so(expression):
    with pytest.raises(quickjs.JSException):
        JUDGE("verdict", expression)


READERS = {
    "softmax(masked(scores, (t, j) => j > t || j < t - 6, -Infinity))": "prefix-is-self-attention",
    "softmax(masked(scores, (t, j) => j > t && j < 8, -Infinity))": "no-future",
    "softmax(masked(scores, (t, j) => j > t, -Infinity).map((row) => row.map((x) => x / 2)))": (
        "prefix-is-self-attention"
    ),
    "softmax(masked(scores.map((_, t) => scores.map((row) => row[t])), (t, j) => j > t, -1 / 0))": (
        "prefix-is-self-attention"
    ),
}


@pytest.mark.parametrize("expression", READERS)
def test_what_a_reader_may_try_is_noticed(expression):
    broken = {one["law"] for one in JUDGE("verdict", expression) if one["found"]}
    assert READERS[expression] in broken
