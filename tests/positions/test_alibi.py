import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from layers import assert_bounded
from strategies import (
    LIFTED,
    assert_close,
    default_type,
    elsewhere,
    in_float64,
    keeps,
    owned,
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
    within = in_float64(rtol=(1 + n_heads) * 2**-52)
    assert_close(alibi.slopes(n_heads), torch.tensor(series), **within)


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
    """BLOOM's bias counts from the first key, and its slopes are float32; ours is rounded."""
    query_time, key_time = time
    scores = data.draw(tensors(n_heads, query_time, key_time), "scores").to(LIFTED)
    future = torch.ones(query_time, key_time, dtype=torch.bool).triu(key_time - query_time + 1)
    texts = torch.ones(1, key_time, dtype=torch.long)
    theirs = build_alibi_tensor(texts, n_heads, LIFTED)
    ours = alibi.alibi(n_heads, query_time, key_time)
    weights, expected = (
        (scores + bias).masked_fill(future, -math.inf).softmax(dim=-1) for bias in (ours, theirs)
    )
    rounded = key_time * torch.finfo(ours.dtype).eps
    assert_close(weights, expected, rtol=0, atol=key_time * n_heads * 2**-22 + rounded)


@given(head_counts)
def test_heads_differ(alibi, n_heads):
    slopes = alibi.slopes(n_heads)
    assert slopes.shape == (n_heads,)
    assert len(set(slopes.tolist())) == n_heads
    assert ((slopes > 0) & (slopes < 1)).all()


@given(sizes(1, 12), lengths())
@example(12, (3, 1100))
@example(2, (2, 70_000))
def test_linear_in_distance(alibi, n_heads, time):
    query_time, key_time = time
    bias = alibi.alibi(n_heads, query_time, key_time)
    assert bias.shape == (n_heads, query_time, key_time)
    steps = [
        [abs(query - key) for key in range(key_time)]
        for query in range(key_time - query_time, key_time)
    ]
    table = torch.tensor(steps, dtype=torch.float64).view(query_time, key_time)
    expected = -alibi.slopes(n_heads).double()[:, None, None] * table
    assert_close(bias, expected.to(bias.dtype), **in_float64(rtol=1e-15))


def test_tables_belong_to_the_caller(alibi):
    """No property: after a failure a spoilt table stays spoilt."""
    with keeps():
        assert not owned(lambda: alibi.slopes(6)).requires_grad
        assert not owned(lambda: alibi.alibi(2, 3, 4)).requires_grad
        owned(lambda: alibi.alibi(2, 1, 1))
    assert_bounded(lambda n: alibi.slopes(n + 1))
    assert_bounded(lambda n: alibi.alibi(1, 1, n + 1))


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
    """A slope may be taken in float32, for a result that is no float64."""
    exact = alibi.alibi(n_heads, 1, key_time, dtype=torch.float64)
    with single_precision():
        rounded = alibi.alibi(n_heads, 1, key_time, dtype=dtype)
    assert rounded.dtype == dtype
    least = torch.finfo(dtype).tiny  # float16 has no smaller ones with all their bits
    within = torch.finfo(dtype).eps / 2 + 2**-23
    assert_close(rounded.double(), exact, rtol=within, atol=least)


@given(sizes(1, 12), lengths(), small_types | st.just(torch.float64))
def test_lands_where_asked(alibi, n_heads, time, dtype):
    asked = {"dtype": dtype, "device": torch.get_default_device()}
    with default_type(torch.float64):
        expected = alibi.slopes(n_heads).to(dtype), alibi.alibi(n_heads, *time).to(dtype)
    with single_precision(), elsewhere():
        made = alibi.slopes(n_heads, **asked), alibi.alibi(n_heads, *time, **asked)
        unasked = alibi.slopes(n_heads), alibi.alibi(n_heads, *time)
    assert_close(made, expected)
    assert {one.device.type for one in unasked} == {"meta"}
    assert {one.dtype for one in unasked} == {torch.float32}


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
