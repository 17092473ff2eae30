import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from attending import (
    FAR,
    assert_compiles,
    assert_drops_weights,
    assert_equals_formula,
    assert_half_is_close,
    assert_layer_is_formula,
    assert_layer_is_pure,
    assert_no_future,
    assert_off_in_evaluation,
    assert_pure,
    close,
    largest,
    largest_of,
    real_sizes,
    shares,
)
from gptspec.attention import self_attention
from strategies import assert_close, elsewhere, rejects, sequences, sizes, tensors


@given(sequences(), st.data())
def test_no_future(causal, x, data):
    attend = causal.CausalAttention(x.shape[-1], d_out=3)
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    assert_no_future(attend, x, data.draw(tensors(*x.shape), "other"), cut)


@given(sequences(), st.data())
def test_prefix_is_self_attention(causal, x, data):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, bias=True)
    unmasked = self_attention.SelfAttention(x.shape[-1], d_out=3, bias=True)
    unmasked.load_state_dict(attend.state_dict())
    t = data.draw(st.integers(1, x.shape[-2]), "t")
    expected = unmasked(x[..., :t, :])[..., -1, :]
    assert_close(attend(x)[..., t - 1, :], expected, **close(largest_of(attend, x)))


@given(sequences())
def test_first_reads_itself(causal, x):
    attend = causal.CausalAttention(x.shape[-1], d_out=3)
    assert_close(attend(x)[..., 0, :], attend.value(x[..., 0, :]))


@given(sequences(), sizes(), st.booleans())
def test_equals_torch(causal, x, d_out, bias):
    attend = causal.CausalAttention(x.shape[-1], d_out, bias=bias)
    queries, keys, values = attend.query(x), attend.key(x), attend.value(x)
    expected = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


@given(sequences(batch=2), sizes(), st.booleans())
def test_gradients_equal_the_formula(causal, x, d_out, bias):
    attend = causal.CausalAttention(x.shape[-1], d_out, bias=bias).double()
    assert_layer_is_formula(attend, x.double())


@given(sequences(), st.data())
def test_weights_equal_the_formula(causal, queries, data):
    queries = queries.double()
    keys = data.draw(tensors(*queries.shape), "keys").double()
    within = largest(queries, keys)
    assert_equals_formula(
        lambda queries: causal.causal_weights(queries, keys),
        lambda queries: shares(queries, keys, causal=True),
        queries,
        within=within,
    )
    assert_equals_formula(
        lambda keys: causal.causal_weights(queries, keys),
        lambda keys: shares(queries, keys, causal=True),
        keys,
        within=within,
    )


def test_holds_at_real_sizes(causal):
    x = real_sizes()
    assert_layer_is_formula(causal.CausalAttention(x.shape[-1], 96, bias=True).to(x), x)


@given(sizes(), sizes(), st.booleans())
def test_bias_only_if_asked(causal, d_in, d_out, bias):
    options = {"bias": True} if bias else {}
    attend = causal.CausalAttention(d_in, d_out, **options)
    for projection in (attend.query, attend.key, attend.value):
        assert projection(torch.zeros(d_in)).any() == bias


@given(sequences(d_model=3), st.data())
def test_rows_are_distributions(causal, queries, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    weights = causal.causal_weights(queries, keys)
    assert weights.shape == (*queries.shape[:-1], queries.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(queries.shape[:-1]), **close(1))


@given(sequences(), st.integers(0, FAR), st.data())
def test_future_weighs_nothing(causal, queries, exponent, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    weights = causal.causal_weights(queries * 10.0**exponent, keys)
    assert not weights.isnan().any()
    assert (weights.triu(1) == 0).all()


@given(sequences(), st.data())
def test_early_gradients_stop(causal, x, data):
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    x.requires_grad_()
    causal.CausalAttention(x.shape[-1], d_out=3)(x)[..., :cut, :].sum().backward()
    assert_close(x.grad[..., cut:, :], torch.zeros_like(x[..., cut:, :]))


@given(sequences())
def test_device_of_the_input(causal, x):
    attend = causal.CausalAttention(x.shape[-1], d_out=3)
    for call in (attend, lambda x: causal.causal_weights(x, x)):
        expected = call(x)
        with elsewhere():
            outputs = call(x)
        assert_close(outputs, expected)


@given(sequences(), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_is_off_in_eval(causal, x, dropout):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, dropout=dropout)
    assert_off_in_evaluation(attend, causal.CausalAttention(x.shape[-1], d_out=3), x)


@given(sizes(most=3), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_keeps_the_expectation(causal, time, dropout):
    assert_drops_weights(causal.CausalAttention(time, 2 * time, dropout=dropout), dropout)


@given(sequences(), st.booleans())
def test_is_pure(causal, x, training):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, bias=True)
    assert_layer_is_pure(attend, x, training=training)


@given(sequences(), st.data())
def test_weights_are_pure(causal, queries, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    assert_pure(causal.causal_weights, queries.double(), keys.double())


def test_half_precision_is_close(causal):
    for bias in (False, True):
        assert_half_is_close(causal.CausalAttention(6, 4, bias=bias))


@pytest.mark.slow
def test_compiles_for_any_length(causal):
    attend = causal.CausalAttention(6, 4, bias=True).float()
    assert_compiles(attend, [real_sizes(time, 6) for time in (5, 9, 33)], attend)


@given(st.sampled_from(["d_in", "d_out"]), st.integers(-3, 0))
def test_rejects_widths(causal, name, width):
    with rejects(name, width):
        causal.CausalAttention(**{"d_in": 2, "d_out": 2, name: width})


@given(st.floats(max_value=-1e-9) | st.floats(min_value=1) | st.just(math.nan))
def test_rejects_dropout(causal, dropout):
    with rejects("dropout", dropout):
        causal.CausalAttention(2, 2, dropout=dropout)
