import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from attending import (
    FAR,
    assert_compiles,
    assert_equals_formula,
    assert_half_is_close,
    assert_layer_is_formula,
    assert_layer_is_pure,
    assert_pure,
    close,
    largest,
    largest_of,
    real_sizes,
    shares,
    size,
)
from gptspec.attention import simplified
from strategies import LIFTED, assert_close, rejects, sequences, sizes, tensors

SCALES = [None, 0.0, 2.0, -0.5]


@given(sequences())
def test_identity_is_simplified(self_attention, x):
    d_model = x.shape[-1]
    attend = self_attention.SelfAttention(d_model, d_model)
    for projection in (attend.query, attend.key, attend.value):
        projection.weight.data = torch.eye(d_model)
    attend.query.weight.data *= math.sqrt(d_model)  # undoes the scale
    assert_close(attend(x), simplified.attend(x), **close(largest(x, x, x)))


@given(sequences(), st.sampled_from(SCALES), st.data())
def test_score_is_the_scaled_dot_product(self_attention, queries, scale, data):
    *batch, _, d_head = queries.shape
    keys = data.draw(tensors(*batch, sizes(), d_head), "keys")
    dots = (queries.unsqueeze(-2) * keys.unsqueeze(-3)).sum(-1)
    factor = d_head**-0.5 if scale is None else scale
    weights = self_attention.attention_weights(queries, keys, scale=scale)
    within = close(largest(queries, keys, scale=factor))
    assert_close(weights, F.softmax(dots * factor, dim=-1), **within)


@given(sequences(batch=2), sizes(), st.booleans())
def test_gradients_equal_the_formula(self_attention, x, d_out, bias):
    attend = self_attention.SelfAttention(x.shape[-1], d_out, bias=bias).double()
    assert_layer_is_formula(attend, x.double(), causal=False)


@given(sequences(), st.sampled_from(SCALES), st.data())
def test_weights_pass_gradients_on(self_attention, queries, scale, data):
    keys = data.draw(tensors(*queries.shape[:-2], sizes(), queries.shape[-1]), "keys").double()
    queries, factor = queries.double(), queries.shape[-1] ** -0.5 if scale is None else scale
    within = largest(queries, keys, scale=factor)
    assert_equals_formula(
        lambda queries: self_attention.attention_weights(queries, keys, scale=scale),
        lambda queries: shares(queries, keys, scale=factor),
        queries,
        within=within,
    )
    assert_equals_formula(
        lambda keys: self_attention.attention_weights(queries, keys, scale=scale),
        lambda keys: shares(queries, keys, scale=factor),
        keys,
        within=within,
    )


def test_holds_at_real_sizes(self_attention):
    x = real_sizes()
    attend = self_attention.SelfAttention(x.shape[-1], 96, bias=True).to(x)
    assert_layer_is_formula(attend, x, causal=False)


@given(sequences(), st.data())
def test_rows_are_distributions(self_attention, queries, data):
    *batch, query_time, d_head = queries.shape
    keys = data.draw(tensors(*batch, sizes(), d_head), "keys")
    weights = self_attention.attention_weights(queries, keys)
    assert weights.shape == (*batch, query_time, keys.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(*batch, query_time), **close(1))


@given(sequences(), st.data())
def test_queries_do_not_meet(self_attention, queries, data):
    keys = data.draw(tensors(*queries.shape[:-2], sizes(), queries.shape[-1]), "keys")
    t = data.draw(st.integers(0, queries.shape[-2] - 1), "t")
    together = self_attention.attention_weights(queries, keys)
    alone = self_attention.attention_weights(queries[..., t : t + 1, :], keys)
    assert_close(together[..., t : t + 1, :], alone, **close(largest(queries, keys)))


@given(sequences(), st.data())
def test_order_does_not_matter(self_attention, x, data):
    attend = self_attention.SelfAttention(x.shape[-1], d_out=3, bias=True)
    order = data.draw(st.permutations(range(x.shape[-2])), "order")
    within = close(largest_of(attend, x))
    assert_close(attend(x[..., order, :]), attend(x)[..., order, :], **within)


@given(sequences(), st.data())
def test_rotation_changes_nothing(self_attention, queries, data):
    d_head = queries.shape[-1]
    keys = data.draw(tensors(*queries.shape), "keys")
    directions = data.draw(tensors(d_head, d_head), "directions")
    rotation = torch.linalg.qr(directions.to(LIFTED)).Q.to(directions.dtype)
    turned = self_attention.attention_weights(queries @ rotation, keys @ rotation)
    # Rounding turns the numbers of a vector by a share of its length, and not of each.
    numbers = size(queries.norm(dim=-1)) * size(keys.norm(dim=-1))
    expected = self_attention.attention_weights(queries, keys)
    assert_close(turned, expected, **close(1 + 2 * d_head * numbers))


@given(tensors(sizes(), sizes(), sizes()))
def test_texts_do_not_meet(self_attention, x):
    attend = self_attention.SelfAttention(x.shape[-1], d_out=3)
    alone = torch.stack([attend(text) for text in x])
    assert_close(attend(x), alone, **close(largest_of(attend, x)))


@given(sequences(), st.integers(0, FAR))
def test_finite_for_huge_inputs(self_attention, x, exponent):
    attend = self_attention.SelfAttention(x.shape[-1], d_out=3)
    assert attend(x * 10.0**exponent).isfinite().all()


@given(sequences(), sizes(), st.booleans())
def test_equals_torch(self_attention, x, d_out, bias):
    attend = self_attention.SelfAttention(x.shape[-1], d_out, bias=bias)
    queries, keys, values = attend.query(x), attend.key(x), attend.value(x)
    expected = F.scaled_dot_product_attention(queries, keys, values)
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


@given(sequences(), st.sampled_from(SCALES), st.data())
def test_weights_are_pure(self_attention, queries, scale, data):
    keys = data.draw(tensors(*queries.shape[:-2], sizes(), queries.shape[-1]), "keys")
    assert_pure(
        lambda queries, keys: self_attention.attention_weights(queries, keys, scale=scale),
        queries.double(),
        keys.double(),
    )


@given(sequences(), st.booleans())
def test_is_pure(self_attention, x, training):
    attend = self_attention.SelfAttention(x.shape[-1], d_out=3, bias=True)
    assert_layer_is_pure(attend, x, training=training)


def test_half_precision_is_close(self_attention):
    for bias in (False, True):
        attend = self_attention.SelfAttention(6, 4, bias=bias)
        assert_half_is_close(attend, causal=False)


@pytest.mark.slow
def test_compiles_for_any_length(self_attention):
    attend = self_attention.SelfAttention(6, 4, bias=True).float()
    assert_compiles(attend, [real_sizes(time, 6) for time in (5, 9, 33)], attend)


@given(sizes(), sizes(), st.booleans())
def test_bias_only_if_asked(self_attention, d_in, d_out, bias):
    options = {"bias": True} if bias else {}
    attend = self_attention.SelfAttention(d_in, d_out, **options)
    for projection in (attend.query, attend.key, attend.value):
        assert projection(torch.zeros(d_in)).any() == bias


@given(st.sampled_from(["d_in", "d_out"]), st.integers(-3, 0))
def test_rejects_widths(self_attention, name, width):
    with rejects(name, width):
        self_attention.SelfAttention(**{"d_in": 2, "d_out": 2, name: width})
