import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.masking_utils import sliding_window_causal_mask_function

from gptspec.attention import causal, grouped_query, self_attention
from strategies import HUGE, assert_close, elsewhere, rejects, sizes, tensors, unchecked, unwritten


@st.composite
def heads(draw, time=None, batch=1):
    """Draw queries, keys and values, in heads, of one text; the keys may have fewer heads."""
    time = draw(sizes(1, 6)) if time is None else time
    n_kv_heads, n_repeats, d_head = draw(sizes(1, 2)), draw(sizes(1, 2)), draw(sizes(1, 3))
    axes = draw(st.lists(sizes(1, 2), max_size=batch))
    queries = draw(tensors(*axes, n_kv_heads * n_repeats, time, d_head), "queries")
    keys = draw(tensors(*axes, n_kv_heads, time, d_head), "keys")
    return queries, keys, draw(tensors(*axes, n_kv_heads, time, d_head), "values")


def windows():
    return sizes(1, 7)


@given(sizes(1, 6), sizes(0, 6), windows())
def test_mask_is_the_window(sliding_window, key_time, query_time, window):
    query_time = min(query_time, key_time)
    mask = sliding_window.window_mask(query_time, key_time, window)
    assert mask.shape == (query_time, key_time)
    for row in range(query_time):
        position = key_time - query_time + row
        read = [key for key in range(key_time) if mask[row, key]]
        assert read == list(range(max(0, position - window + 1), position + 1))


@given(sizes(1, 6), windows())
def test_equals_mistral(sliding_window, time, window):
    reads = sliding_window_causal_mask_function(window)
    expected = [
        [bool(reads(0, 0, torch.tensor(i), torch.tensor(j))) for j in range(time)]
        for i in range(time)
    ]
    assert sliding_window.window_mask(time, time, window).tolist() == expected


@given(heads(), windows(), st.data())
def test_nothing_beyond_the_window(sliding_window, text, window, data):
    queries, keys, values = text
    time = queries.shape[-2]
    t = data.draw(st.integers(0, time - 1), "t")
    outside = torch.tensor([not t - window < j <= t for j in range(time)])[:, None]
    outside = outside.to(keys)
    changed = sliding_window.attend(queries, keys + outside, values - outside, window=window)
    before = sliding_window.attend(queries, keys, values, window=window)
    assert_close(changed[..., t, :], before[..., t, :])


@given(heads(), windows(), st.data())
def test_window_is_a_short_text(sliding_window, text, window, data):
    queries, keys, values = text
    t = data.draw(st.integers(0, queries.shape[-2] - 1), "t")
    seen = slice(max(0, t - window + 1), t + 1)
    n_repeats = queries.shape[-3] // keys.shape[-3]
    keys, values = (grouped_query.repeat_heads(x[..., seen, :], n_repeats) for x in (keys, values))
    weights = self_attention.attention_weights(queries[..., t : t + 1, :], keys)
    together = sliding_window.attend(*text, window=window)[..., t : t + 1, :]
    assert_close(together, weights @ values)


@given(heads(), st.none() | sizes(0, 3))
def test_wide_window_is_causal(sliding_window, text, beyond):
    queries, keys, values = text
    window = None if beyond is None else queries.shape[-2] + beyond
    n_repeats = queries.shape[-3] // keys.shape[-3]
    weights = causal.causal_weights(queries, grouped_query.repeat_heads(keys, n_repeats))
    expected = weights @ grouped_query.repeat_heads(values, n_repeats)
    assert_close(sliding_window.attend(queries, keys, values, window=window), expected)


@given(heads(), st.none() | windows(), st.booleans(), st.data())
def test_last_queries_are_last_rows(sliding_window, text, window, biased, data):
    queries, keys, values = text
    n_heads, time = queries.shape[-3:-1]
    bias = data.draw(tensors(n_heads, time, time), "bias") if biased else None
    last = data.draw(st.integers(1, time), "last")
    whole = sliding_window.attend(queries, keys, values, window=window, bias=bias)
    bias = bias[:, -last:] if biased else None
    part = sliding_window.attend(queries[..., -last:, :], keys, values, window=window, bias=bias)
    assert_close(part, whole[..., -last:, :])


@given(windows(), heads(), st.data())
def test_bias_is_added(sliding_window, window, text, data):
    queries, keys, values = text
    n_heads, time, d_head = queries.shape[-3:]
    bias = data.draw(tensors(n_heads, time, time), "bias")
    n_repeats = n_heads // keys.shape[-3]
    scores = queries @ grouped_query.repeat_heads(keys, n_repeats).mT / math.sqrt(d_head) + bias
    for i in range(time):
        for j in range(time):
            if not i - window < j <= i:
                scores[..., i, j] = -math.inf
    expected = scores.softmax(-1) @ grouped_query.repeat_heads(values, n_repeats)
    ours = sliding_window.attend(queries, keys, values, window=window, bias=bias)
    assert_close(ours, expected)


@given(sizes(1, 12), sizes(1, 4), sizes(1, 4))
def test_reach_grows_with_depth(sliding_window, time, window, depth):
    x = start = torch.ones(1, time, 1).requires_grad_()
    for _ in range(depth):
        x = sliding_window.attend(x, x, x, window=window)
    (influence,) = torch.autograd.grad(x[0, -1, 0], start)
    reached = min(time, depth * (window - 1) + 1)
    assert (influence.flatten() != 0).tolist() == [False] * (time - reached) + [True] * reached


@given(heads(), windows(), st.integers(0, HUGE))
def test_always_finite(sliding_window, text, window, exponent):
    queries, keys, values = text
    ours = sliding_window.attend(queries * 10.0**exponent, keys, values, window=window)
    assert ours.isfinite().all()
    assert (ours.amax((-2, -1)) <= values.max() + 1e-9).all()


@given(st.sampled_from([0.1, 0.5]))
def test_dropout_keeps_the_expectation(sliding_window, dropout):
    """2,000 texts of one token, whose only weight is 1; the share is within 6 standard errors."""
    ones = torch.ones(2000, 1, 1, 1)
    mixes = sliding_window.attend(ones, ones, ones, window=1, dropout=dropout)
    dropped = mixes == 0
    assert_close(mixes, torch.where(dropped, 0, ones / (1 - dropout)))
    error = (dropout * (1 - dropout) / 2000) ** 0.5
    assert abs(dropped.double().mean() - dropout) < 6 * error


@given(heads(), windows())
def test_device_of_the_input(sliding_window, text, window):
    time = text[0].shape[-2]
    expected = sliding_window.attend(*text, window=window)
    mask = sliding_window.window_mask(time, time, window)
    with elsewhere():
        outputs = sliding_window.attend(*text, window=window)
        asked = sliding_window.window_mask(time, time, window, device=mask.device)
    assert_close(outputs, expected)
    assert_close(asked, mask)


@settings(max_examples=3)  # each compiles it several times
@given(st.none() | windows(), st.integers(0, 2**32 - 1))
def test_compiles_for_any_length(sliding_window, window, seed):
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    with unchecked():
        compiled = torch.compile(sliding_window.attend, fullgraph=True, backend="eager")
        for query_time, key_time in [(2, 7), (4, 4), (5, 5), (1, 6), (1, 7), (3, 9)]:
            queries = torch.randn(1, 2, query_time, 2, generator=source)
            keys = torch.randn(1, 2, key_time, 2, generator=source)
            expected = sliding_window.attend(queries, keys, keys, window=window)
            try:
                outputs = compiled(queries, keys, keys, window=window)
            except RuntimeError as error:
                if unwritten(error):
                    raise
                raise AssertionError(f"it is no single graph: {error}") from error
            assert_close(outputs, expected)


@given(st.integers(max_value=0), heads())
def test_rejects_empty_window(sliding_window, window, text):
    with rejects("window", window):
        sliding_window.window_mask(2, 2, window)
    with rejects("window", window):
        sliding_window.attend(*text, window=window)


@given(sizes(0, 5), sizes(1, 5), windows(), st.none() | windows())
def test_rejects_more_queries_than_keys(sliding_window, key_time, more, window, no_window):
    query_time = key_time + more
    with rejects("query_time", query_time):
        sliding_window.window_mask(query_time, key_time, window)
    queries, keys = torch.ones(1, query_time, 2), torch.ones(1, key_time, 2)
    with rejects("query_time", query_time):
        sliding_window.attend(queries, keys, keys, window=no_window)
