import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attending import (
    FAR,
    ROUNDINGS,
    assert_compiles,
    assert_equals_formula,
    assert_pure,
    close,
    half_texts,
    largest,
    real_sizes,
    shares,
    size,
)
from strategies import (
    HALVES,
    assert_close,
    assert_rounded,
    half_and_exact,
    sequences,
    sizes,
    tensors,
)


def formula(x):
    return shares(x, x, scale=1) @ x


def assert_is_formula(simplified, x):
    assert_equals_formula(simplified.attend, formula, x, within=largest(x, x, x))
    weights = simplified.attention_weights
    assert_equals_formula(weights, lambda x: shares(x, x, scale=1), x, within=largest(x, x))


@given(sequences(batch=2))
def test_rows_are_distributions(simplified, x):
    weights = simplified.attention_weights(x)
    assert weights.shape == (*x.shape[:-1], x.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(x.shape[:-1]), **close(1))


@given(sequences())
def test_gradients_equal_the_formula(simplified, x):
    assert_is_formula(simplified, x.double())


def test_holds_at_real_sizes(simplified):
    x = real_sizes() / 4
    assert_is_formula(simplified, x)
    assert_is_formula(simplified, x + 1)  # scores near 100, in which small differences count


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


@given(tensors(sizes(most=2), sizes(most=4), sizes(most=3)))
def test_equals_the_plain_loop(simplified, x):
    for text, outputs in zip(x.tolist(), simplified.attend(x), strict=True):
        features = list(zip(*text, strict=True))
        for token, output in zip(text, outputs, strict=True):
            scores = [dot(token, other) for other in text]
            parts = [math.exp(score - max(scores)) for score in scores]
            mix = [dot(parts, feature) / sum(parts) for feature in features]
            tokens = torch.tensor(text)
            assert_close(output, torch.tensor(mix), **close(largest(tokens, tokens, tokens)))


@given(sequences(), st.data())
def test_stays_in_the_hull(simplified, x, data):
    direction = data.draw(tensors(x.shape[-1]), "direction")
    furthest = (x @ direction).amax(-1, keepdim=True)
    reached = simplified.attend(x) @ direction
    numbers = size(x) * direction.abs().sum().item()
    assert (reached <= furthest + close(numbers)["atol"]).all()


@given(sequences())
def test_reads_itself_first(simplified, x):
    weights, lengths = simplified.attention_weights(x), x.norm(dim=-1)
    own = weights.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    no_longer = lengths.unsqueeze(-2) <= lengths.unsqueeze(-1)
    assert ((weights <= own + close(1)["atol"]) | ~no_longer).all()


@given(sequences(), st.data())
def test_order_does_not_matter(simplified, x, data):
    order = data.draw(st.permutations(range(x.shape[-2])), "order")
    outputs = simplified.attend(x)
    assert_close(simplified.attend(x[..., order, :]), outputs[..., order, :], **close(size(x)))


@given(sequences(), st.data())
def test_equal_tokens_equal_outputs(simplified, x, data):
    places = st.integers(0, x.shape[-2] - 1)
    one, other = data.draw(places, "one"), data.draw(places, "other")
    x[..., other, :] = x[..., one, :]
    outputs = simplified.attend(x)
    assert_close(outputs[..., other, :], outputs[..., one, :], **close(size(x)))


@given(sequences())
def test_saying_it_twice_changes_nothing(simplified, x):
    outputs = simplified.attend(x)
    again = simplified.attend(torch.cat([x, x], -2))
    assert_close(again, torch.cat([outputs, outputs], -2), **close(size(x)))


@given(sequences(), st.integers(0, FAR))
def test_finite_for_huge_inputs(simplified, x, exponent):
    assert simplified.attend(x * 10.0**exponent).isfinite().all()


@given(sequences())
def test_is_pure(simplified, x):
    assert_pure(simplified.attend, x)
    assert_pure(simplified.attention_weights, x)


def test_half_precision_is_close(simplified):
    for dtype, text in itertools.product(HALVES, half_texts(6)):
        (half,), (exact,) = half_and_exact(dtype, text)
        weights, outputs = simplified.attention_weights(half), simplified.attend(half)
        wanted, number = shares(exact, exact, scale=1), largest(exact, exact)
        assert_rounded(weights, wanted, roundings=ROUNDINGS, largest=number)
        number = largest(exact, exact, exact)
        assert_rounded(outputs, wanted @ exact, roundings=ROUNDINGS, largest=number)


@pytest.mark.slow
def test_compiles_for_any_length(simplified):
    assert_compiles(simplified.attend, [real_sizes(time, 6) for time in (5, 9, 33)])
