import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from strategies import HUGE, assert_close, sequences, sizes, tensors


@given(sequences())
def test_rows_are_distributions(simplified, x):
    weights = simplified.attention_weights(x)
    assert weights.shape == (*x.shape[:-1], x.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(x.shape[:-1]))


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
            assert_close(output, torch.tensor(mix))


@given(sequences(), st.data())
def test_stays_in_the_hull(simplified, x, data):
    direction = data.draw(tensors(x.shape[-1]), "direction")
    furthest = (x @ direction).amax(-1, keepdim=True)
    reached = simplified.attend(x) @ direction
    assert (reached <= furthest + 1e-9 * (1 + furthest.abs())).all()


@given(sequences())
def test_reads_itself_first(simplified, x):
    weights, lengths = simplified.attention_weights(x), x.norm(dim=-1)
    own = weights.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    no_longer = lengths.unsqueeze(-2) <= lengths.unsqueeze(-1)
    assert ((weights <= own + 1e-9) | ~no_longer).all()


@given(sequences(), st.data())
def test_order_does_not_matter(simplified, x, data):
    order = data.draw(st.permutations(range(x.shape[-2])), "order")
    assert_close(simplified.attend(x[..., order, :]), simplified.attend(x)[..., order, :])


@given(sequences(), st.data())
def test_equal_tokens_equal_outputs(simplified, x, data):
    places = st.integers(0, x.shape[-2] - 1)
    one, other = data.draw(places, "one"), data.draw(places, "other")
    x[..., other, :] = x[..., one, :]
    outputs = simplified.attend(x)
    assert_close(outputs[..., other, :], outputs[..., one, :])


@given(sequences())
def test_saying_it_twice_changes_nothing(simplified, x):
    outputs = simplified.attend(x)
    assert_close(simplified.attend(torch.cat([x, x], -2)), torch.cat([outputs, outputs], -2))


@given(sequences(), st.integers(0, HUGE))
def test_finite_for_huge_inputs(simplified, x, exponent):
    assert simplified.attend(x * 10.0**exponent).isfinite().all()
