import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import sliding_window_causal_mask_function

from gptspec.attention import causal, self_attention
from strategies import (
    HALVES,
    HUGE,
    assert_close,
    assert_rounded,
    assert_same_on_views,
    elsewhere,
    gradients,
    half_and_exact,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
)


@st.composite
def texts(draw, time=None, batch=2):
    """Draw queries, keys and values of one text; values may be of another width."""
    time = draw(sizes(1, 6)) if time is None else time
    axes = draw(st.lists(sizes(1, 2), max_size=batch))
    d_head = draw(sizes(1, 3))
    shapes = [(*axes, time, width) for width in (d_head, d_head, draw(sizes(1, 3)))]
    return tuple(draw(tensors(*shape)) for shape in shapes)


def windows():
    return sizes(1, 7)


def long(preference=1.0):
    """A text longer than what is drawn, whose values are all above 0."""
    source = torch.Generator(torch.get_default_device()).manual_seed(0)
    queries, keys, values = (torch.randn(1100, 8, generator=source) for _ in range(3))
    return preference * queries, keys, values.abs()


@given(sizes(1, 6), sizes(0, 6), windows() | st.none())
@example(1100, 1100, 300)
@example(1100, 5, None)
def test_mask_is_the_window(sliding_window, key_time, query_time, window):
    query_time = min(query_time, key_time)
    mask = owned(lambda: sliding_window.window_mask(query_time, key_time, window))
    assert mask.dtype == torch.bool
    expected = []
    for position in range(key_time - query_time, key_time):
        first = 0 if window is None else max(0, position - window + 1)
        expected.append(
            [False] * first + [True] * (position + 1 - first) + [False] * (key_time - position - 1)
        )
    assert mask.shape == (query_time, key_time)
    assert mask.tolist() == expected


@given(sizes(1, 6), windows())
def test_equals_mistral(sliding_window, time, window):
    reads = sliding_window_causal_mask_function(window)
    expected = [
        [bool(reads(0, 0, torch.tensor(i), torch.tensor(j))) for j in range(time)]
        for i in range(time)
    ]
    assert sliding_window.window_mask(time, time, window).tolist() == expected


@given(texts(), windows() | st.none(), sizes(1, 6))
@example(long(), 300, 1100)
def test_equals_torch(sliding_window, text, window, last):
    def attend(queries, keys, values):
        return sliding_window.sliding_window_attention(queries, keys, values, window=window)

    queries, keys, values = text
    queries = queries[..., -last:, :]
    read = [x.clone().requires_grad_() for x in (queries, keys, values)]
    with keeps(*read):
        ours = owned(lambda: attend(*read))
    time = keys.shape[-2]
    mask = torch.ones(time, time, dtype=torch.bool).tril().triu(1 - (window or time))
    mask = mask[time - queries.shape[-2] :]
    theirs = scaled_dot_product_attention(*read, attn_mask=mask)
    assert_close(ours, theirs)
    assert_close(gradients(ours, *read), gradients(theirs, *read))
    assert_same_on_views(lambda x: attend(x, keys, values), queries)
    assert_same_on_views(lambda x: attend(queries, x, values), keys)
    assert_same_on_views(lambda x: attend(queries, keys, x), values)


@given(texts(), windows(), st.integers(0, HUGE), st.data())
def test_nothing_beyond_the_window(sliding_window, text, window, exponent, data):
    queries, keys, values = text
    queries = queries * 10.0**exponent
    time = queries.shape[-2]
    t = data.draw(st.integers(0, time - 1), "t")
    outside = torch.tensor([not t - window < j <= t for j in range(time)])[:, None]
    outside = outside.to(keys)
    attend = sliding_window.sliding_window_attention
    changed = attend(queries, keys + outside, values - outside, window=window)
    before = attend(queries, keys, values, window=window)
    assert_close(changed[..., t, :], before[..., t, :])


@given(texts(), windows(), st.data())
def test_window_is_a_short_text(sliding_window, text, window, data):
    queries, keys, values = text
    t = data.draw(st.integers(0, queries.shape[-2] - 1), "t")
    seen = slice(max(0, t - window + 1), t + 1)
    weights = self_attention.attention_weights(queries[..., t : t + 1, :], keys[..., seen, :])
    together = sliding_window.sliding_window_attention(*text, window=window)[..., t : t + 1, :]
    assert_close(together, weights @ values[..., seen, :])


@given(texts(), st.none() | sizes(0, 3))
def test_wide_window_is_causal(sliding_window, text, beyond):
    queries, keys, values = text
    window = None if beyond is None else queries.shape[-2] + beyond
    expected = causal.causal_weights(queries, keys) @ values
    assert_close(sliding_window.sliding_window_attention(*text, window=window), expected)


@given(texts(), st.none() | windows(), st.data())
def test_last_queries_are_last_rows(sliding_window, text, window, data):
    queries, keys, values = text
    last = data.draw(st.integers(1, queries.shape[-2]), "last")
    attend = sliding_window.sliding_window_attention
    part = attend(queries[..., -last:, :], keys, values, window=window)
    assert_close(part, attend(queries, keys, values, window=window)[..., -last:, :])


@given(sizes(1, 12), sizes(1, 4), sizes(1, 4))
@example(1100, 300, 3)
def test_reach_grows_with_depth(sliding_window, time, window, depth):
    x = start = torch.ones(time, 1).requires_grad_()
    for _ in range(depth):
        x = sliding_window.sliding_window_attention(x, x, x, window=window)
    (influence,) = torch.autograd.grad(x[-1, 0], start)
    reached = min(time, depth * (window - 1) + 1)
    assert (influence.flatten() != 0).tolist() == [False] * (time - reached) + [True] * reached


@given(texts(), windows(), st.integers(0, HUGE))
def test_always_finite(sliding_window, text, window, exponent):
    queries, keys, values = text
    huge = queries * 10.0**exponent
    ours = sliding_window.sliding_window_attention(huge, keys, values, window=window)
    assert ours.isfinite().all()
    assert (ours.amax((-2, -1)) <= values.amax((-2, -1)) + 1e-9).all()


@given(st.sampled_from(HALVES), st.none() | windows(), texts())
@example(torch.bfloat16, 300, long(preference=0.0))
def test_rounds_as_its_type(sliding_window, dtype, window, text):
    """Two roundings of each score change a weight by at most four times the score's size, as many
    units; the weights and their sum are rounded as well."""
    half, exact = half_and_exact(dtype, *text)
    ours = sliding_window.sliding_window_attention(*half, window=window)
    expected = sliding_window.sliding_window_attention(*exact, window=window)
    queries, keys, values = exact
    assert ours.dtype == dtype
    largest_score = (queries @ keys.mT / queries.shape[-1] ** 0.5).abs().max().item()
    roundings = 3 + 4 * largest_score
    assert_rounded(ours, expected, roundings=roundings, largest=values.abs().max().item())


@given(texts(), windows())
def test_device_of_the_input(sliding_window, text, window):
    time = text[0].shape[-2]
    expected = sliding_window.sliding_window_attention(*text, window=window)
    mask = sliding_window.window_mask(time, time, window)
    with elsewhere():
        outputs = sliding_window.sliding_window_attention(*text, window=window)
        asked = sliding_window.window_mask(time, time, window, device=mask.device)
    assert_close(outputs, expected)
    assert_close(asked, mask)


@given(st.integers(max_value=0), texts())
def test_rejects_empty_window(sliding_window, window, text):
    with rejects("window", window):
        sliding_window.window_mask(2, 2, window)
    with rejects("window", window):
        sliding_window.sliding_window_attention(*text, window=window)


@given(sizes(0, 5), sizes(1, 5), st.none() | windows())
def test_rejects_more_queries_than_keys(sliding_window, key_time, more, window):
    query_time = key_time + more
    with rejects("query_time", query_time):
        sliding_window.window_mask(query_time, key_time, window)
    queries, keys = torch.ones(1, query_time, 2), torch.ones(1, key_time, 2)
    with rejects("query_time", query_time):
        sliding_window.sliding_window_attention(queries, keys, keys, window=window)
