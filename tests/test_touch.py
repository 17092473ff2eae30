"""What can be touched on the pages computes what the modules compute."""

import json
import math
from pathlib import Path

import quickjs
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from gptspec.attention import causal, self_attention

TOUCH = Path(__file__).parent.parent / "docs/assets/touch"
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
