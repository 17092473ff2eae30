import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from strategies import (
    assert_close,
    default_type,
    elsewhere,
    rejects,
    single_precision,
    sizes,
    tensors,
)

head_counts = st.integers(1, 8) | st.integers(1, 200)
small_types = st.sampled_from([torch.bfloat16, torch.float16, torch.float32])


@st.composite
def lengths(draw):
    """Draw the number of queries and of keys, which are at least as many."""
    query_time = draw(sizes(0, 4))
    return query_time, query_time + draw(sizes(0, 3))


@given(st.integers(0, 8))
def test_slopes_are_geometric(alibi, exponent):
    n_heads = 2**exponent
    series = [2 ** (-8 * head / n_heads) for head in range(1, n_heads + 1)]
    assert_close(alibi.slopes(n_heads), torch.tensor(series))


@given(head_counts)
@example(12)
@example(40)
def test_slopes_equal_bloom(alibi, n_heads):
    """BLOOM takes powers in float32: a base's rounding grows with the exponent, up to 2 n_heads."""
    texts = torch.ones(1, 2, dtype=torch.long)
    theirs = build_alibi_tensor(texts, n_heads, torch.get_default_dtype())[:, 0, 1]
    assert_close(alibi.slopes(n_heads), theirs, rtol=n_heads * 2**-22, atol=0)


@given(st.integers(1, 12), lengths(), st.data())
def test_weights_equal_bloom(alibi, n_heads, time, data):
    """BLOOM's bias counts from the first key, and its slopes are float32."""
    query_time, key_time = time
    scores = data.draw(tensors(n_heads, query_time, key_time), "scores")
    future = torch.ones(query_time, key_time, dtype=torch.bool).triu(key_time - query_time + 1)
    texts = torch.ones(1, key_time, dtype=torch.long)
    theirs = build_alibi_tensor(texts, n_heads, scores.dtype)
    weights, expected = (
        (scores + bias).masked_fill(future, -math.inf).softmax(dim=-1)
        for bias in (alibi.alibi(n_heads, query_time, key_time), theirs)
    )
    assert_close(weights, expected, rtol=0, atol=key_time * n_heads * 2**-22)


@given(head_counts)
def test_heads_differ(alibi, n_heads):
    slopes = alibi.slopes(n_heads)
    assert slopes.shape == (n_heads,)
    assert len(set(slopes.tolist())) == n_heads
    assert ((slopes > 0) & (slopes < 1)).all()


@given(sizes(1, 12), lengths())
def test_linear_in_distance(alibi, n_heads, time):
    query_time, key_time = time
    bias = alibi.alibi(n_heads, query_time, key_time)
    assert bias.shape == (n_heads, query_time, key_time)
    for head, slope in enumerate(alibi.slopes(n_heads)):
        for row in range(query_time):
            query = key_time - query_time + row
            for key in range(key_time):
                assert_close(bias[head, row, key], -slope * abs(query - key))


@given(sizes(1, 12), lengths())
def test_depends_on_distance(alibi, n_heads, time):
    query_time, key_time = time
    bias = alibi.alibi(n_heads, query_time + 1, key_time + 1)
    assert_close(bias[:, 1:, 1:], bias[:, :-1, :-1], rtol=0, atol=0)


@given(sizes(1, 12), lengths(), lengths())
def test_tail_is_whole(alibi, n_heads, time, before):
    alibi.alibi(n_heads, *before)
    query_time, key_time = time
    whole = alibi.alibi(n_heads, key_time, key_time)[:, key_time - query_time :]
    assert_close(alibi.alibi(n_heads, query_time, key_time), whole, rtol=0, atol=0)


@given(sizes(1, 12), st.integers(1, 3000), small_types)
def test_low_precision_rounds_once(alibi, n_heads, key_time, dtype):
    exact = alibi.alibi(n_heads, 1, key_time, dtype=torch.float64)
    with single_precision():
        rounded = alibi.alibi(n_heads, 1, key_time, dtype=dtype)
    assert_close(rounded, exact.to(dtype), rtol=0, atol=0)


@given(sizes(1, 12), lengths(), small_types)
def test_lands_where_asked(alibi, n_heads, time, dtype):
    asked = {"dtype": dtype, "device": torch.get_default_device()}
    with default_type(torch.float64):
        expected = alibi.slopes(n_heads).to(dtype), alibi.alibi(n_heads, *time).to(dtype)
    with elsewhere():
        made = alibi.slopes(n_heads, **asked), alibi.alibi(n_heads, *time, **asked)
        unasked = alibi.slopes(n_heads), alibi.alibi(n_heads, *time)
    assert_close(made, expected)
    assert {one.device.type for one in unasked} == {"meta"}
    assert {one.dtype for one in unasked} == {torch.get_default_dtype()}


@given(st.integers(-3, 0), lengths())
def test_rejects_no_heads(alibi, n_heads, time):
    with rejects("n_heads", n_heads):
        alibi.slopes(n_heads)
    with rejects("n_heads", n_heads):
        alibi.alibi(n_heads, *time)


@given(sizes(1, 12), sizes(0), sizes())
def test_rejects_more_queries_than_keys(alibi, n_heads, key_time, more):
    query_time = key_time + more
    with rejects("query_time", query_time, key_time):
        alibi.alibi(n_heads, query_time, key_time)
