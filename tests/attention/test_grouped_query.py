import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaConfig

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
from gptspec.attention import causal, multihead
from strategies import assert_close, keeps, rejects, sequences, sizes, tensors


@st.composite
def layers(draw, **fixed):
    """Draw the arguments of a layer: groups of heads that divide its width."""
    n_kv_heads = draw(sizes(most=3), "n_kv_heads")
    n_heads = n_kv_heads * draw(sizes(most=3), "heads of a group")
    return {
        "d_in": draw(sizes(), "d_in"),
        "d_out": n_heads * draw(sizes(most=3), "d_head"),
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "bias": draw(st.booleans(), "bias"),
    } | fixed


def group_of(layer, head):
    return head * layer["n_kv_heads"] // layer["n_heads"]


@given(layers(), st.data())
def test_groups_share_keys_and_values(grouped_query, layer, data):
    """The repeats are written as a loop over heads."""
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    d_head = layer["d_out"] // layer["n_heads"]
    state = attend.state_dict()
    for name in state:
        if name.startswith(("key.", "value.")):
            heads = state[name].split(d_head)
            state[name] = torch.cat([heads[group_of(layer, h)] for h in range(layer["n_heads"])])
    alike = {name: layer[name] for name in ["d_in", "d_out", "n_heads", "bias"]}
    theirs = multihead.MultiHeadAttention(**alike)
    theirs.load_state_dict(state)
    assert_close(attend(x), theirs(x), **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_a_group_for_each_head_is_multihead(grouped_query, layer, data):
    layer["n_kv_heads"] = layer["n_heads"]
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    del layer["n_kv_heads"]
    theirs = multihead.MultiHeadAttention(**layer)
    theirs.load_state_dict(attend.state_dict())
    assert_close(attend(x), theirs(x), **close(largest_of(attend, x)))


@given(layers(n_kv_heads=1), st.data())
def test_one_group_is_multi_query(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    keys, values = attend.key(x), attend.value(x)
    queries = attend.query(x).chunk(layer["n_heads"], dim=-1)
    mixes = [causal.causal_weights(asked, keys) @ values for asked in queries]
    expected = attend.output(torch.cat(mixes, dim=-1))
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_equals_llama(grouped_query, layer, data):
    layer["d_in"] = layer["d_out"]  # Llama has one width
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(tensors(sizes(), sizes(), layer["d_in"]), "x")
    theirs = LlamaAttention(
        LlamaConfig(
            hidden_size=layer["d_out"], num_attention_heads=layer["n_heads"],
            num_key_value_heads=layer["n_kv_heads"], attention_bias=layer["bias"],
            attn_implementation="sdpa",  # the other rounds its softmax to single precision
        ),
        layer_idx=0,
    )  # fmt: skip
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
    for ours, name in names.items():
        getattr(theirs, name).load_state_dict(getattr(attend, ours).state_dict())
    time, d_head = x.shape[-2], layer["d_out"] // layer["n_heads"]
    unturned = torch.ones(1, time, d_head), torch.zeros(1, time, d_head)  # cosines and sines of 0
    future = torch.full((time, time), -torch.inf).triu(1)
    expected = theirs(x, unturned, future)[0]
    assert_close(attend(x), expected, **close(largest_of(attend, x)))


@given(layers(), st.data())
def test_kernel_is_the_formula(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    attend, x = attend.double(), x.double()
    assert attend(x).shape == (*x.shape[:-1], layer["d_out"])
    with keeps(attend):
        assert_equals_formula(attend.explicit, attend, x, attend, within=largest_of(attend, x))


@given(layers(), st.data())
def test_formula_never_drops(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer, dropout=0.5)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    outputs = attend.train().explicit(x)
    assert_close(attend.eval().explicit(x), outputs)


@given(layers(), st.data())
def test_gradients_equal_the_formula(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer).double()
    x = data.draw(sequences(d_model=layer["d_in"], batch=2), "x").double()
    heads = {name: layer[name] for name in ("n_heads", "n_kv_heads")}
    assert_layer_is_formula(attend, x, **heads)


def test_holds_at_real_sizes(grouped_query):
    for n_heads, n_kv_heads, time in ((12, 4, 1100), (1, 1, 100)):
        x = real_sizes(time)
        heads = {"n_heads": n_heads, "n_kv_heads": n_kv_heads}
        attend = grouped_query.GroupedQueryAttention(x.shape[-1], 96, bias=True, **heads).to(x)
        assert_layer_is_formula(attend, x, **heads)


@given(tensors(sizes(), sizes(), sizes(), batch=1), sizes(most=4))
def test_copies_stand_together(grouped_query, x, n_repeats):
    repeated = grouped_query.repeat_heads(x, n_repeats)
    heads = [x[..., head // n_repeats, :, :] for head in range(x.shape[-3] * n_repeats)]
    assert_close(repeated, torch.stack(heads, dim=-3), rtol=0, atol=0)


@given(layers(), st.data())
def test_a_group_keeps_to_itself(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    attend.output.weight.data = torch.eye(layer["d_out"])  # shows the heads' mixes
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    group = data.draw(st.integers(0, layer["n_kv_heads"] - 1), "group")
    before = attend(x).chunk(layer["n_heads"], dim=-1)
    d_head = layer["d_out"] // layer["n_heads"]
    for projection in [attend.key, attend.value]:
        projection.weight.data[group * d_head : (group + 1) * d_head] += 1
    after = attend(x).chunk(layer["n_heads"], dim=-1)
    for head in range(layer["n_heads"]):
        if group_of(layer, head) != group:
            assert_close(after[head], before[head])


@given(layers(), st.data())
def test_keeps_few_keys(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    queries, keys, values = attend.project(x)
    d_head = layer["d_out"] // layer["n_heads"]
    assert queries.shape == (*x.shape[:-2], layer["n_heads"], x.shape[-2], d_head)
    assert keys.shape == values.shape == (*x.shape[:-2], layer["n_kv_heads"], x.shape[-2], d_head)


@given(layers(), st.data())
def test_no_future(grouped_query, layer, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    assert_no_future(attend, x, data.draw(tensors(*x.shape), "other"), cut)


@given(layers())
def test_parameter_count(grouped_query, layer):
    d_in, d_out = layer["d_in"], layer["d_out"]
    d_kv = d_out * layer["n_kv_heads"] // layer["n_heads"]
    expected = d_in * d_out + 2 * d_in * d_kv + d_out**2 + layer["bias"] * (2 * d_out + 2 * d_kv)
    attend = grouped_query.GroupedQueryAttention(**layer)
    assert sum(weight.numel() for weight in attend.parameters()) == expected


@given(layers(), st.data())
def test_dropout_is_off_in_eval(grouped_query, layer, data):
    dropout = data.draw(st.sampled_from([0.1, 0.5, 0.9]), "dropout")
    attend = grouped_query.GroupedQueryAttention(**layer, dropout=dropout)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    assert_off_in_evaluation(attend, grouped_query.GroupedQueryAttention(**layer), x)


@given(sizes(most=3), sizes(most=2), sizes(most=3), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_keeps_the_expectation(grouped_query, time, n_kv_heads, n_repeats, dropout):
    n_heads = n_kv_heads * n_repeats
    attend = grouped_query.GroupedQueryAttention(
        time, 2 * time * n_heads, n_heads=n_heads, n_kv_heads=n_kv_heads, dropout=dropout
    )
    assert_drops_weights(attend, dropout, n_heads=n_heads)


@given(layers(), st.booleans(), st.data())
def test_is_pure(grouped_query, layer, training, data):
    attend = grouped_query.GroupedQueryAttention(**layer)
    x = data.draw(sequences(d_model=layer["d_in"]), "x")
    assert_layer_is_pure(attend, x, training=training)


def test_half_precision_is_close(grouped_query):
    heads = {"n_heads": 4, "n_kv_heads": 2}
    for bias in (False, True):
        attend = grouped_query.GroupedQueryAttention(6, 12, bias=bias, **heads)
        assert_half_is_close(attend, **heads)


@pytest.mark.slow
def test_compiles_for_any_length(grouped_query):
    attend = grouped_query.GroupedQueryAttention(6, 8, n_heads=4, n_kv_heads=2, bias=True).float()
    assert_compiles(attend, [real_sizes(time, 6) for time in (5, 9, 33)], attend)


@given(sizes(), sizes(), st.booleans())
def test_bias_only_if_asked(grouped_query, d_in, d_out, bias):
    options = {"bias": True} if bias else {}
    attend = grouped_query.GroupedQueryAttention(d_in, d_out, n_heads=1, n_kv_heads=1, **options)
    for projection in (attend.query, attend.key, attend.value):
        assert projection(torch.zeros(d_in)).any() == bias
    assert attend.output(torch.zeros(d_out)).any() == bias


@given(sizes(1, 12), sizes(1, 12))
def test_rejects_groups_that_do_not_divide(grouped_query, n_heads, n_kv_heads):
    if n_heads % n_kv_heads:
        with rejects("n_heads", n_heads, "n_kv_heads", n_kv_heads):
            grouped_query.GroupedQueryAttention(3, n_heads, n_heads=n_heads, n_kv_heads=n_kv_heads)
    else:
        grouped_query.GroupedQueryAttention(3, n_heads, n_heads=n_heads, n_kv_heads=n_kv_heads)


SHAPE = {"d_in": 2, "d_out": 4, "n_heads": 2, "n_kv_heads": 1}


@given(
    st.tuples(st.sampled_from(sorted(SHAPE)), st.integers(-3, 0))
    | st.tuples(st.just("d_out"), st.sampled_from([1, 3, 5]))
    | st.tuples(
        st.just("dropout"),
        st.floats(max_value=-1e-9) | st.floats(min_value=1) | st.just(math.nan),
    )
)
def test_rejects_shape(grouped_query, wrong):
    name, value = wrong
    with rejects(name, value):
        grouped_query.GroupedQueryAttention(**SHAPE | {name: value})
