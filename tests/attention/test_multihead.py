import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from attending import (
    assert_compiles,
    assert_drops_weights,
    assert_equals_formula,
    assert_half_is_close,
    assert_layer_is_formula,
    assert_layer_is_pure,
    assert_no_future,
    assert_off_in_evaluation,
    close,
    largest_of,
    real_sizes,
)
from gptspec.attention import causal
from strategies import assert_close, keeps, rejects, sequences, sizes, tensors

READS = ("query.", "key.", "value.")  # what each head has its own rows of


@st.composite
def layers(draw):
    """Draw the arguments of a layer whose heads divide its width."""
    n_heads = draw(sizes(most=3), "n_heads")
    d_out = n_heads * draw(sizes(most=3), "d_head")
    return {"d_in": draw(sizes()), "d_out": d_out, "n_heads": n_heads, "bias": draw(st.booleans())}


@given(layers(), st.data())
def test_heads_are_causal(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    d_head = layer["d_out"] // layer["n_heads"]
    mixes = []
    for start in range(0, layer["d_out"], d_head):
        head = causal.CausalAttention(layer["d_in"], d_head, bias=layer["bias"])
        state = attend.state_dict().items()
        head.load_state_dict(
            {name: rows[start : start + d_head] for name, rows in state if name.startswith(READS)}
        )
        mixes.append(head(x))
    expected = attend.output(torch.cat(mixes, dim=-1))
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


@given(sequences(), sizes(), st.booleans())
def test_one_head_is_causal(multihead, x, d_out, bias):
    attend = multihead.MultiHeadAttention(x.shape[-1], d_out, n_heads=1, bias=bias)
    head = causal.CausalAttention(x.shape[-1], d_out, bias=bias)
    head.load_state_dict(attend.state_dict(), strict=False)
    assert_close(attend(x), attend.output(head(x)), **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_heads_have_no_order(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    order = data.draw(st.permutations(range(layer["n_heads"])), "order")
    places = torch.arange(layer["d_out"]).view(layer["n_heads"], -1)[order].flatten()
    expected = attend(x)
    state = attend.state_dict()
    moved = {name: rows[places] for name, rows in state.items() if name.startswith(READS)}
    moved["output.weight"] = state["output.weight"][:, places]
    attend.load_state_dict(state | moved)
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


def read_by_torch(attend, layer, x):
    """Return the outputs and weights of torch's module, with the same parameters."""
    theirs = nn.MultiheadAttention(
        layer["d_out"], layer["n_heads"], bias=layer["bias"], batch_first=True
    )
    state = {"out_proj." + kind: value for kind, value in attend.output.state_dict().items()}
    for kind in attend.query.state_dict():
        parts = [
            getattr(projection, kind) for projection in (attend.query, attend.key, attend.value)
        ]
        state["in_proj_" + kind] = torch.cat(parts)
    theirs.load_state_dict(state)
    future = torch.ones(2 * x.shape[-2:-1], dtype=torch.bool).triu(1)
    return theirs(x, x, x, attn_mask=future, average_attn_weights=False)


@given(layers(), st.data())
def test_equals_torch(multihead, layer, data):
    layer["d_in"] = layer["d_out"]  # torch's has one width
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    outputs, _ = read_by_torch(attend, layer, x)
    assert_close(attend(x), outputs, **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_weights_equal_torch(multihead, layer, data):
    layer["d_in"] = layer["d_out"]  # torch's has one width
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    _, weights = read_by_torch(attend, layer, x)
    assert_close(attend.weights(x), weights, **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_kernel_is_the_formula(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    attend, x = attend.double(), x.double()
    assert attend(x).shape == (*x.shape[:-1], layer["d_out"])
    with keeps(attend):
        assert_equals_formula(attend.explicit, attend, x, attend, within=largest_of(attend, x))


@given(layers(), st.data())
def test_formula_never_drops(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer, dropout=0.5)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    dropped_by_none = attend.train().explicit(x), attend.weights(x)
    attend.eval()
    for one, other in zip(dropped_by_none, (attend.explicit(x), attend.weights(x)), strict=True):
        assert_close(one, other)


@given(layers(), st.data())
def test_gradients_equal_the_formula(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer).double()
    x = data.draw(sequences(d_model=layer["d_in"], batch=2), "x").double()
    assert_layer_is_formula(attend, x, n_heads=layer["n_heads"])


def test_holds_at_real_sizes(multihead):
    for n_heads, time in ((12, 1100), (1, 100)):
        x = real_sizes(time)
        attend = multihead.MultiHeadAttention(x.shape[-1], 96, n_heads=n_heads, bias=True).to(x)
        assert_layer_is_formula(attend, x, n_heads=n_heads)


@given(layers(), st.data())
def test_heads_are_slices(multihead, layer, data):
    n_heads, d_out = layer["n_heads"], layer["d_out"]
    x = data.draw(sequences(d_model=d_out), "x")
    heads = multihead.split_heads(x, n_heads)
    assert_close(heads, torch.stack(x.split(d_out // n_heads, dim=-1), dim=-3), rtol=0, atol=0)
    assert_close(multihead.merge_heads(heads), x, rtol=0, atol=0)


@given(layers(), st.data())
def test_no_future(multihead, layer, data):
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    assert_no_future(attend, x, data.draw(tensors(*x.shape), "other"), cut)


@given(layers())
def test_parameter_count(multihead, layer):
    d_in, d_out = layer["d_in"], layer["d_out"]
    expected = 3 * d_in * d_out + d_out**2 + 4 * d_out * layer["bias"]
    attend = multihead.MultiHeadAttention(**layer)
    assert sum(weight.numel() for weight in attend.parameters()) == expected


@given(layers(), st.data())
def test_dropout_is_off_in_eval(multihead, layer, data):
    dropout = data.draw(st.sampled_from([0.1, 0.5, 0.9]), "dropout")
    attend = multihead.MultiHeadAttention(**layer, dropout=dropout)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    assert_off_in_evaluation(attend, multihead.MultiHeadAttention(**layer), x)


@given(sizes(most=3), sizes(most=3), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_keeps_the_expectation(multihead, time, n_heads, dropout):
    attend = multihead.MultiHeadAttention(
        time, 2 * time * n_heads, n_heads=n_heads, dropout=dropout
    )
    assert_drops_weights(attend, dropout, n_heads=n_heads)


@given(layers(), st.booleans(), st.data())
def test_is_pure(multihead, layer, training, data):
    attend = multihead.MultiHeadAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    assert_layer_is_pure(attend, x, training=training)


def test_half_precision_is_close(multihead):
    for bias in (False, True):
        attend = multihead.MultiHeadAttention(6, 12, n_heads=3, bias=bias)
        assert_half_is_close(attend, n_heads=3)


@pytest.mark.slow
def test_compiles_for_any_length(multihead):
    attend = multihead.MultiHeadAttention(6, 8, n_heads=2, bias=True).float()
    assert_compiles(attend, [real_sizes(time, 6) for time in (5, 9, 33)], attend)


@given(sizes(), sizes(), st.booleans())
def test_bias_only_if_asked(multihead, d_in, d_out, bias):
    options = {"bias": True} if bias else {}
    attend = multihead.MultiHeadAttention(d_in, d_out, n_heads=1, **options)
    for projection in (attend.query, attend.key, attend.value):
        assert projection(torch.zeros(d_in)).any() == bias
    assert attend.output(torch.zeros(d_out)).any() == bias


@given(sizes(2), st.data())
def test_rejects_heads_that_do_not_divide(multihead, n_heads, data):
    d_out = data.draw(st.integers(1, 20).filter(lambda width: width % n_heads), "d_out")
    with rejects("d_out", d_out, "n_heads", n_heads):
        multihead.MultiHeadAttention(3, d_out, n_heads=n_heads)


@given(st.sampled_from(["d_in", "d_out", "n_heads"]), st.integers(-3, 0))
def test_rejects_sizes(multihead, name, size):
    with rejects(name, size):
        multihead.MultiHeadAttention(**{"d_in": 2, "d_out": 2, "n_heads": 1, name: size})


@given(st.floats(max_value=-1e-9) | st.floats(min_value=1) | st.just(math.nan))
def test_rejects_dropout(multihead, dropout):
    with rejects("dropout", dropout):
        multihead.MultiHeadAttention(2, 2, n_heads=1, dropout=dropout)
