import torch
from hypothesis import example, given
from hypothesis import strategies as st

from layers import (
    assert_normal,
    assert_pure,
    assert_same_gradients,
    large,
    long_sequences,
)
from strategies import (
    HALVES,
    assert_close,
    assert_rounded,
    half_and_exact,
    rejects,
    sequences,
    single_precision,
    sizes,
)


@st.composite
def cases(draw):
    """Draw vectors, the position of the first, and a context that just holds them or more."""
    x = draw(sequences(time=sizes(0, 5), batch=2))
    start = draw(sizes(0, 4))
    context_length = max(1, start + x.shape[-2] + draw(sizes(0, 3)))
    return x, start, context_length


@given(cases())
@example((large(), 1000, 2100))
@example((large(1, 3, 2), 69_997, 70_000))
def test_adds_the_row_of_the_position(learned, case):
    x, start, context_length = case
    positions = learned.LearnedPositions(context_length, x.shape[-1])
    assert positions.weight.shape == (context_length, x.shape[-1])
    positions(x, context_length - x.shape[-2])  # an earlier call leaves no trace
    y = positions(x, start)
    assert y.shape == x.shape
    rows = positions.weight.unbind()
    for t in range(x.shape[-2]):
        assert_close(y[..., t, :], x[..., t, :] + rows[start + t], rtol=0, atol=0)


@given(sequences(batch=2), st.data())
def test_tail_is_whole(learned, x, data):
    start = data.draw(st.integers(0, x.shape[-2]), "start")
    positions = learned.LearnedPositions(x.shape[-2], x.shape[-1])
    whole = positions(x)[..., start:, :]
    assert_close(positions(x[..., start:, :], start), whole, rtol=0, atol=0)


@given(cases())
def test_gradient_reaches_rows_in_use(learned, case):
    x, start, context_length = case
    time, d_model = x.shape[-2:]
    positions = learned.LearnedPositions(context_length, d_model)
    positions(x.requires_grad_(), start).sum().backward()
    texts = x.shape[:-2].numel()
    expected = torch.zeros(context_length, d_model)
    expected[start : start + time] = texts
    assert positions.weight.grad is not None
    assert_close(positions.weight.grad, expected)


@given(cases(), st.booleans())
def test_gradients_equal_the_formula(learned, case, training):
    x, start, context_length = case
    positions = learned.LearnedPositions(context_length, x.shape[-1]).double().train(training)
    x = x.double().requires_grad_()
    places = torch.arange(start, start + x.shape[-2])
    one_hot = torch.nn.functional.one_hot(places, context_length).to(x)
    assert_same_gradients(positions(x, start), x + one_hot @ positions.weight, x, positions)


@given(cases(), st.booleans())
def test_is_pure(learned, case, training):
    x, start, context_length = case
    positions = learned.LearnedPositions(context_length, x.shape[-1]).train(training)
    assert_pure(lambda x: positions(x, start), x, positions)


@given(long_sequences(batch=1), st.integers(0, 1000), st.sampled_from(HALVES))
def test_half_precision_is_close(learned, x, start, dtype):
    positions = learned.LearnedPositions(start + x.shape[-2], x.shape[-1])
    (half, vectors), (exact, exact_vectors) = half_and_exact(dtype, positions, x)
    y = half(vectors, start)
    assert y.dtype == dtype
    assert_rounded(y, exact(exact_vectors, start), roundings=1)


@given(st.integers(50, 100), st.integers(50, 100))
def test_starts_small(learned, context_length, d_model):
    """The measured deviation is within 6 standard errors of the stated one."""
    weight = learned.LearnedPositions(context_length, d_model).weight
    assert_normal(weight, 0.01)
    assert (learned.LearnedPositions(context_length, d_model).weight != weight).any()
    with single_precision():
        assert learned.LearnedPositions(2, 3).weight.dtype == torch.float32


@given(sizes(), sizes(), st.data())
def test_rejects_beyond_the_context(learned, context_length, time, data):
    start = data.draw(st.integers(max(0, context_length - time + 1), 20), "start")
    positions = learned.LearnedPositions(context_length, d_model=2)
    with rejects("context_length", context_length, start + time - 1):
        positions(torch.ones(time, 2), start)


@given(sequences(), st.integers(-5, -1))
def test_rejects_negative_start(learned, x, start):
    positions = learned.LearnedPositions(10, x.shape[-1])
    with rejects("start", start):
        positions(x, start)


@given(st.integers(-3, 0), sizes())
def test_rejects_empty_tables(learned, size, other):
    with rejects("context_length", size):
        learned.LearnedPositions(size, other)
    with rejects("d_model", size):
        learned.LearnedPositions(other, size)
