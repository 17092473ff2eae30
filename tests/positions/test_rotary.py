import math
from functools import partial

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import LlamaConfig
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj_rotate
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as llama_rotate

from gptspec.positions import sinusoidal
from layers import (
    assert_bounded,
    assert_pure,
    assert_same_gradients,
    large,
    long_sequences,
    rounding,
)
from strategies import (
    LIFTED,
    assert_close,
    default_type,
    elsewhere,
    in_float64,
    owned,
    rejects,
    sequences,
    single_precision,
    sizes,
    tensors,
    unwritten,
)

layouts = st.sampled_from(["rotate", "rotate_interleaved"])
widths = st.sampled_from([2, 4, 6, 10])
starts = st.integers(0, 10) | st.integers(0, 100_000)
# Float32 counts up to 2**24. Only two wide: who keeps a table needs a row for each place up to it.
BEYOND = 2**24 + 1
thetas = st.sampled_from([10_000.0, 500_000.0, 100.0, 1.5, 0.5])


def by_loop(x, layout, start, theta):
    """Return the rotation of x, pair by pair: a complex number times one of length 1."""
    time, d_head = x.shape[-2:]
    places = torch.arange(start, start + time).double()
    columns = list(x.double().unbind(-1))
    for i in range(d_head // 2):
        one, other = (i, i + d_head // 2) if layout == "rotate" else (2 * i, 2 * i + 1)
        angle = places * theta ** (-2 * i / d_head)
        turned = torch.complex(columns[one], columns[other]) * torch.exp(1j * angle)
        columns[one], columns[other] = turned.real, turned.imag
    return torch.stack(columns, dim=-1).to(x.dtype)


def exactly(x, start, theta=10_000.0):
    """Return tolerances for turns in float64: an angle is rounded a few times."""
    turns = (start + x.shape[-2]) * max(1, 1 / theta)
    return in_float64(atol=(8 + turns) * 2**-50 * (1 + float(x.abs().max() if x.numel() else 0)))


@given(sequences(time=sizes(0), d_model=widths, batch=2), layouts, starts, thetas)
@example(large(12, 1100, 96), "rotate", 0, 10_000.0)
@example(large(12, 1100, 96), "rotate_interleaved", 1100, 500_000.0)
@example(large(2, 3, 128), "rotate", 70_000, 10_000.0)
@example(large(2, 3, 128), "rotate_interleaved", 70_000, 500_000.0)
@example(large(2, 3, 2), "rotate", BEYOND, 10_000.0)
@example(large(2, 3, 2), "rotate_interleaved", BEYOND, 500_000.0)
def test_equals_the_formula(rotary, x, layout, start, theta):
    y = getattr(rotary, layout)(x, start=start, theta=theta)
    assert_close(y, by_loop(x, layout, start, theta), **exactly(x, start, theta))


@given(sequences(d_model=widths, batch=2), layouts, starts, thetas)
def test_gradients_equal_the_formula(rotary, x, layout, start, theta):
    x = x.double().requires_grad_()
    y = getattr(rotary, layout)(x, start=start, theta=theta)
    assert_same_gradients(y, by_loop(x, layout, start, theta), x)
    order = rotary.interleaved_to_halves(torch.arange(x.shape[-1]).double()).long()
    one_hot = torch.nn.functional.one_hot(order).double()
    assert_same_gradients(rotary.interleaved_to_halves(x), x @ one_hot.T, x)


@given(sequences(d_model=widths, batch=1), layouts, starts, thetas)
@example(large(1, 1, 2), "rotate", 0, 10_000.0)
def test_is_pure(rotary, x, layout, start, theta):
    assert_pure(lambda x: getattr(rotary, layout)(x, start=start, theta=theta), x)
    assert_pure(rotary.interleaved_to_halves, x)


def test_tables_belong_to_the_caller(rotary):
    """No property: after a failure a spoilt table stays spoilt."""
    owned(lambda: rotary.angles(3, 4, start=1))
    assert_bounded(lambda start: rotary.angles(3, 4, start=start))
    assert_bounded(lambda start: rotary.rotate(torch.ones(3, 4), start=start))
    assert_bounded(lambda n: rotary.rotate_interleaved(torch.ones(1, 4), theta=n + 2.0))


@given(sizes(0), widths, starts, thetas)
@example(1100, 96, 0, 10_000.0)
@example(3, 128, 70_000, 10_000.0)
@example(3, 2, BEYOND, 10_000.0)
def test_angles_are_multiples(rotary, time, d_head, start, theta):
    rows = [
        [t * theta ** (-2 * i / d_head) for i in range(d_head // 2)]
        for t in range(start, start + time)
    ]
    table = rotary.angles(time, d_head, start=start, theta=theta)
    expected = torch.tensor(rows).view(time, d_head // 2)
    assert_close(table, expected, **in_float64(rtol=1e-14))


@given(tensors(sizes(1, 3), sizes(), widths), st.integers(0, 100), thetas)
def test_equals_llama(rotary, x, start, theta):
    """Llama's angles are float32, so at position t they are wrong by up to t * 2**-22."""
    heads, time, d_head = x.shape
    config = LlamaConfig(
        hidden_size=heads * d_head,
        num_attention_heads=heads,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    wide = x.to(LIFTED)
    cos, sin = LlamaRotaryEmbedding(config)(wide, torch.arange(start, start + time)[None])
    expected, _ = llama_rotate(wide[None], wide[None], cos, sin)
    inside = (start + time + 1) * 2**-22 * float(x.abs().max())
    y = rotary.rotate(x, start=start, theta=theta)
    # Two numbers on different sides of a rounding's edge are a unit in the last place apart.
    assert_close(y, expected[0].to(x.dtype), rtol=torch.finfo(x.dtype).eps, atol=inside)


@given(tensors(sizes(1, 3), sizes(), widths), st.integers(0, 100))
def test_equals_gpt_j(rotary, x, start):
    time, d_head = x.shape[-2:]
    with default_type(LIFTED):
        table = create_sinusoidal_positions(start + time, d_head)[None, start:]
    sin, cos = table.chunk(2, dim=-1)
    expected = gptj_rotate(x.to(LIFTED).transpose(0, 1)[None], sin, cos)[0].transpose(0, 1)
    y = rotary.rotate_interleaved(x, start=start)
    assert_close(y, expected.to(x.dtype), **rounding(2, 2 * x.abs().max()))


@given(tensors(sizes(), 3), st.sampled_from([1, 2, 3, 12]), widths, st.data())
def test_layouts_agree(rotary, x, n_heads, d_head, data):
    def scores(rotate, weights):
        heads = [(x @ weight.T).unflatten(-1, (n_heads, d_head)) for weight in weights]
        queries, keys = (rotate(head.transpose(0, 1)) for head in heads)
        return queries @ keys.mT

    weights = [data.draw(tensors(n_heads * d_head, 3), name) for name in ("query", "key")]
    converted = [rotary.interleaved_to_halves(w, n_heads=n_heads, dim=0) for w in weights]
    assert_close(scores(rotary.rotate, converted), scores(rotary.rotate_interleaved, weights))
    head = weights[0].T[:, :d_head]
    turned = rotary.interleaved_to_halves(rotary.rotate_interleaved(head))
    assert_close(turned, rotary.rotate(rotary.interleaved_to_halves(head)))


@given(sizes(0), widths, starts)
def test_shows_the_sinusoids(rotary, time, d_head, start):
    ahead = torch.tensor([1.0, 0.0]).repeat(time, d_head // 2)
    y = rotary.rotate_interleaved(ahead, start=start)
    table = sinusoidal.sinusoids(time, d_head, start=start)
    assert_close(y[:, 0::2], table[:, 1::2])
    assert_close(y[:, 1::2], table[:, 0::2])


@given(sequences(d_model=widths), layouts, starts, thetas)
def test_keeps_lengths(rotary, x, layout, start, theta):
    y = getattr(rotary, layout)(x, start=start, theta=theta)
    assert y.shape == x.shape
    assert_close(y.norm(dim=-1), x.norm(dim=-1))


@given(tensors(2, 1, widths), layouts, thetas, st.tuples(*[st.integers(0, 1000)] * 3))
def test_score_is_by_distance(rotary, x, layout, theta, places):
    (query, key), (i, j, shift) = x, places

    def score(i, j):
        rotate = getattr(rotary, layout)
        return rotate(query, start=i, theta=theta) @ rotate(key, start=j, theta=theta).T

    # Each feature is rounded, of query and key, and so is their sum, on both sides.
    within = rounding(6, query.norm() * key.norm())
    assert_close(score(i + shift, j + shift), score(i, j), **within)


@given(tensors(1, widths), layouts, thetas)
def test_first_stays(rotary, x, layout, theta):
    assert_close(getattr(rotary, layout)(x, theta=theta), x, rtol=0, atol=0)


@given(tensors(1, widths), layouts, thetas, st.tuples(*[st.integers(0, 1000)] * 2))
def test_turns_add_up(rotary, x, layout, theta, places):
    rotate, (first, second) = getattr(rotary, layout), places
    twice = rotate(rotate(x, start=first, theta=theta), start=second, theta=theta)
    within = rounding(4, 2 * x.abs().max())
    assert_close(twice, rotate(x, start=first + second, theta=theta), **within)


@given(sequences(d_model=widths), layouts, st.data())
def test_tail_is_whole(rotary, x, layout, data):
    rotate = getattr(rotary, layout)
    start = data.draw(st.integers(0, x.shape[-2]), "start")
    tail = rotate(x[..., start:, :], start=start)
    assert_close(tail, rotate(x)[..., start:, :], **exactly(x, 0))


@example(large(3, 2), "rotate", BEYOND, torch.bfloat16)
@example(large(3, 2), "rotate_interleaved", BEYOND, torch.float32)
@given(
    long_sequences(d_model=widths, batch=0),
    layouts,
    starts,
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
)
def test_low_precision_rounds_once(rotary, x, layout, start, dtype):
    rotate, x = getattr(rotary, layout), x.to(dtype)
    with single_precision():
        y = rotate(x, start=start)
    assert y.dtype == dtype
    exact, inside = rotate(x.double(), start=start), 4 * 2**-23 * float(x.abs().max())
    assert_close(y.double(), exact, rtol=torch.finfo(dtype).eps / 2, atol=inside)


@given(
    sequences(d_model=widths, batch=0),
    layouts,
    st.tuples(starts, starts).filter(lambda pair: pair[0] != pair[1]),
    st.permutations([10_000.0, 500_000.0]),
)
def test_earlier_calls_leave_no_trace(rotary, x, layout, places, bases):
    rotate = getattr(rotary, layout)
    for start in places:
        for theta in bases:
            y = rotate(x, start=start, theta=theta)
            assert_close(y, by_loop(x, layout, start, theta))


@given(sequences(d_model=widths), layouts, starts)
def test_trains_after_any_mode(rotary, x, layout, start):
    """Each mode has a theta of its own, so that no other makes its tables."""
    tracing = FakeTensorMode(allow_non_fake_inputs=True)  # what torch's compiler works in
    modes = [(torch.device("meta"), 100.0), (torch.inference_mode(), 200.0), (tracing, 300.0)]
    for mode, theta in modes:
        leaf, ones = x.clone().requires_grad_(), torch.ones_like(x)
        rotate = partial(getattr(rotary, layout), start=start, theta=theta)
        try:
            with mode:
                rotate(torch.empty_like(x))
            rotate(leaf).backward(rotate(ones))
        except (RuntimeError, Warning) as error:
            if unwritten(error):
                raise
            raise AssertionError(f"the call before is in the way: {error}") from error
        assert_close(leaf.grad, ones)
        # A table without values is far off; how exact it is others judge.
        assert_close(rotate(ones), by_loop(ones, layout, start, theta), rtol=0, atol=0.05)


@given(sizes(0), widths, st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
def test_lands_where_asked(rotary, time, d_head, dtype):
    with default_type(torch.float64):
        exact = rotary.angles(time, d_head, start=0, theta=10_000.0)
    asked = {"dtype": dtype, "device": torch.get_default_device()}
    with single_precision(), elsewhere():
        made = rotary.angles(time, d_head, **asked)
        unasked = rotary.angles(time, d_head)
    assert_close(made, exact.to(dtype), rtol=0, atol=0)
    assert (unasked.device.type, unasked.dtype) == ("meta", torch.float32)


@given(sizes(0), layouts, st.integers(0, 10).map(lambda n: 2 * n + 1) | st.just(0))
def test_rejects_odd_widths(rotary, time, layout, d_head):
    with rejects("d_head", d_head):
        getattr(rotary, layout)(torch.ones(time, d_head))
    with rejects("d_head", d_head):
        rotary.angles(time, d_head)


@given(sequences(d_model=widths), layouts, st.integers(-5, -1))
def test_rejects_negative_positions(rotary, x, layout, negative):
    with rejects("start", negative):
        getattr(rotary, layout)(x, start=negative)
    with rejects("time", negative):
        rotary.angles(negative, x.shape[-1])


@given(
    sequences(d_model=widths),
    layouts,
    st.floats(max_value=0) | st.sampled_from([math.nan, math.inf]),
)
def test_rejects_theta(rotary, x, layout, theta):
    with rejects("theta", theta):
        getattr(rotary, layout)(x, theta=theta)


@given(sequences(d_model=widths), layouts, st.sampled_from([torch.int64, torch.bool]))
def test_rejects_other_types(rotary, x, layout, dtype):
    with rejects("x"):
        getattr(rotary, layout)(x.to(dtype))


@given(st.integers(1, 20), st.integers(-1, 5))
def test_rejects_heads_that_do_not_divide(rotary, features, n_heads):
    """A number of heads that divides is made one too large, so that it may."""
    if n_heads > 0 and features % (2 * n_heads) == 0:
        features += 1
    with rejects("n_heads", n_heads, features):
        rotary.interleaved_to_halves(torch.arange(1.0 * features), n_heads=n_heads)
