import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from layers import (
    assert_bounded,
    assert_pure,
    assert_same_gradients,
    long_sequences,
    rounding,
)
from strategies import (
    assert_close,
    elsewhere,
    in_float64,
    owned,
    rejects,
    sequences,
    single_precision,
    sizes,
)

widths = st.sampled_from([2, 4, 6, 10, 64, 96])
starts = st.integers(0, 10) | st.integers(0, 100_000)
BEYOND = 2**24 + 1  # float32 counts up to 2**24


def pairs(table):
    """Return the sines and the cosines of a table, one column per clock."""
    return table[..., 0::2], table[..., 1::2]


@given(sizes(0), widths, starts)
@example(time=1100, d_model=96, start=0)
@example(time=3, d_model=768, start=BEYOND)
def test_equals_the_formula(sinusoidal, time, d_model, start):
    rows = [
        [
            (math.cos if column % 2 else math.sin)(t / 10_000 ** ((column - column % 2) / d_model))
            for column in range(d_model)
        ]
        for t in range(start, start + time)
    ]
    expected = torch.tensor(rows).view(time, d_model)
    options = {"start": start} if start else {}
    within = in_float64(atol=(4 + start + time) * 2**-51)  # an angle is rounded twice
    assert_close(sinusoidal.sinusoids(time, d_model, **options), expected, **within)


@given(sizes(), widths, starts)
def test_pairs_lie_on_the_unit_circle(sinusoidal, time, d_model, start):
    sine, cosine = pairs(sinusoidal.sinusoids(time, d_model, start=start))
    assert_close(sine**2 + cosine**2, torch.ones(time, d_model // 2))


@given(sizes(), widths, starts, st.integers(0, 1000))
def test_shift_is_rotation(sinusoidal, time, d_model, start, shift):
    sine, cosine = pairs(sinusoidal.sinusoids(time, d_model, start=start))
    shift_sine, shift_cosine = pairs(sinusoidal.sinusoids(1, d_model, start=shift))
    turned = pairs(sinusoidal.sinusoids(time, d_model, start=start + shift))
    within = rounding(8, 1)
    assert_close(turned[0], sine * shift_cosine + cosine * shift_sine, **within)
    assert_close(turned[1], cosine * shift_cosine - sine * shift_sine, **within)


@given(sizes(), widths, starts)
def test_similarity_is_by_distance(sinusoidal, time, d_model, start):
    here = sinusoidal.sinusoids(time, d_model)
    there = sinusoidal.sinusoids(time, d_model, start=start)
    # Both factors of each of d_model / 2 squares are rounded, and then their sum, on both sides.
    assert_close(here @ here.T, there @ there.T, **rounding(6, d_model / 2))


@given(widths, st.integers(0, 300), st.integers(1, 300))
def test_positions_differ(sinusoidal, d_model, position, further):
    """The first hand alone tells 300 steps apart: none comes within 0.001 of whole turns."""
    first = sinusoidal.sinusoids(1, d_model, start=position)
    second = sinusoidal.sinusoids(1, d_model, start=position + further)
    assert (first - second).abs().max() > 0.001


@given(sizes(0), sizes(0), widths, starts)
def test_longer_keeps_rows(sinusoidal, time, more, d_model, start):
    longer = sinusoidal.sinusoids(time + more, d_model, start=start)
    shorter = sinusoidal.sinusoids(time, d_model, start=start)
    assert_close(longer[:time], shorter, **in_float64(atol=1e-12))


@given(sequences(d_model=widths), st.data())
def test_tail_is_whole(sinusoidal, x, data):
    start = data.draw(st.integers(0, x.shape[-2]), "start")
    positions = sinusoidal.SinusoidalPositions(x.shape[-1])
    whole = positions(x)[..., start:, :]
    assert_close(positions(x[..., start:, :], start), whole, **in_float64(atol=1e-12))


@given(sequences(d_model=widths), starts)
def test_adds_the_same_to_every_text(sinusoidal, x, start):
    y = sinusoidal.SinusoidalPositions(x.shape[-1])(x, start)
    assert y.shape == x.shape
    assert_close(y, x + sinusoidal.sinusoids(*x.shape[-2:], start=start))


@given(
    long_sequences(d_model=widths, batch=0),
    starts | st.just(BEYOND),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
)
def test_low_precision_rounds_once(sinusoidal, x, start, dtype):
    """A sine may be taken in float32, where its angle is a float64."""
    exact = sinusoidal.sinusoids(*x.shape, start=start, dtype=torch.float64)
    with single_precision():
        y = sinusoidal.SinusoidalPositions(x.shape[-1])(torch.zeros_like(x, dtype=dtype), start)
    assert y.dtype == dtype
    assert_close(y.double(), exact, rtol=torch.finfo(dtype).eps / 2, atol=2**-23)


@given(sequences(d_model=widths), starts, st.booleans())
def test_gradients_equal_the_formula(sinusoidal, x, start, training):
    positions = sinusoidal.SinusoidalPositions(x.shape[-1]).train(training)
    x = x.double().requires_grad_()
    table = sinusoidal.sinusoids(*x.shape[-2:], start=start, dtype=torch.float64)
    assert not table.requires_grad
    assert_same_gradients(positions(x, start), x + table, x)


@given(sequences(d_model=widths), starts, st.booleans())
def test_is_pure(sinusoidal, x, start, training):
    positions = sinusoidal.SinusoidalPositions(x.shape[-1]).train(training)
    assert_pure(lambda x: positions(x, start), x, positions)


def test_tables_belong_to_the_caller(sinusoidal):
    """No property: after a failure a spoilt table stays spoilt."""
    owned(lambda: sinusoidal.sinusoids(3, 4, start=1))
    positions = sinusoidal.SinusoidalPositions(4)
    assert_bounded(lambda start: sinusoidal.sinusoids(3, 4, start=start))
    assert_bounded(lambda start: positions(torch.ones(3, 4), start=start))


@given(sequences(d_model=widths), starts)
def test_device_of_the_input(sinusoidal, x, start):
    positions = sinusoidal.SinusoidalPositions(x.shape[-1])
    expected = positions(x, start)
    with elsewhere():
        y, table = positions(x, start), sinusoidal.sinusoids(*x.shape[-2:])
    assert_close(y, expected)
    assert table.device.type == "meta"


@given(sizes(0), st.integers(-4, 0) | st.integers(0, 10).map(lambda n: 2 * n + 1))
def test_rejects_odd_widths(sinusoidal, time, d_model):
    with rejects("d_model", d_model):
        sinusoidal.sinusoids(time, d_model)
    with rejects("d_model", d_model):
        sinusoidal.SinusoidalPositions(d_model)


@given(sequences(d_model=widths), st.integers(-5, -1))
def test_rejects_negative_positions(sinusoidal, x, negative):
    with rejects("start", negative):
        sinusoidal.SinusoidalPositions(x.shape[-1])(x, negative)
    with rejects("time", negative):
        sinusoidal.sinusoids(negative, x.shape[-1])
