import math
from statistics import NormalDist

import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from attending import size
from layers import assert_pure, assert_same_gradients, large, rounding
from strategies import (
    HALVES,
    assert_close,
    assert_rounded,
    half_and_exact,
    rejects,
    sequences,
    single_precision,
    sizes,
    tensors,
)

numbers = st.floats(-12, 12) | st.integers(-12, 12).map(float)
forms = st.sampled_from(["gelu", "gelu_tanh"])


def by_formula(think, x):
    """Return what a feed-forward layer without dropout makes, as the formula is written."""
    u = F.linear(x, think.up.weight, think.up.bias)
    share = (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))) / 2
    return F.linear(u * share, think.down.weight, think.down.bias)


def largest(think, x):
    """Return the largest number on the way: a sum in which nothing cancels."""
    for layer in (think.up, think.down):
        bias = None if layer.bias is None else layer.bias.abs()
        x = F.linear(x.abs(), layer.weight.abs(), bias)
    return size(x)


@given(numbers)
def test_gelu_is_a_share(feed_forward, number):
    x = torch.tensor(number)
    number = x.item()  # as it is rounded to the type
    chance = NormalDist().cdf(number)
    # The error function and 1 cancel far below 0: rounded is a share of the number.
    within = rounding(6, abs(number))
    assert_close(feed_forward.gelu(x), torch.tensor(number * chance), **within)


@given(tensors(sizes(), sizes()))
def test_forms_equal_torch(feed_forward, x):
    within = rounding(8, x)
    assert_close(feed_forward.gelu(x), F.gelu(x), **within)
    assert_close(feed_forward.gelu_tanh(x), F.gelu(x, approximate="tanh"), **within)
    x = x.double().requires_grad_()
    assert_same_gradients(feed_forward.gelu(x), F.gelu(x), x)
    assert_same_gradients(feed_forward.gelu_tanh(x), F.gelu(x, approximate="tanh"), x)


@given(numbers)
def test_forms_are_close(feed_forward, number):
    x = torch.tensor(number)
    assert_close(feed_forward.gelu_tanh(x), feed_forward.gelu(x), rtol=0, atol=5e-4)


@given(forms, numbers)
def test_mirror(feed_forward, form, number):
    x, gelu = torch.tensor(number), getattr(feed_forward, form)
    assert_close(gelu(x) - gelu(-x), x)


@given(forms, st.floats(6, 1e6), st.sampled_from([-1, 1]))
def test_far_out_all_or_nothing(feed_forward, form, distance, sign):
    x = torch.tensor(sign * distance)
    assert_close(getattr(feed_forward, form)(x), x.clamp(min=0))


@given(sequences(), sizes(), st.booleans())
def test_kernel_is_formula(feed_forward, x, d_ff, bias):
    think = feed_forward.FeedForward(x.shape[-1], d_ff, bias=bias)
    y = think(x)
    assert y.shape == x.shape
    expected = think.down(feed_forward.gelu_tanh(think.up(x)))
    assert_close(y, expected, **rounding(8, largest(think, x)))


@given(sequences(), sizes(), st.booleans(), st.booleans())
def test_gradients_equal_the_formula(feed_forward, x, d_ff, bias, training):
    think = feed_forward.FeedForward(x.shape[-1], d_ff, bias=bias).double().train(training)
    x = x.double().requires_grad_()
    assert_same_gradients(think(x), by_formula(think, x), x, think)


def test_holds_at_real_sizes(feed_forward):
    x, think = 10 * large().double(), feed_forward.FeedForward(96, 384, bias=True).double()
    assert_close(think(x), by_formula(think, x))


@given(sequences(), sizes(), st.booleans(), st.booleans())
def test_is_pure(feed_forward, x, d_ff, bias, training):
    dropout = 0.0 if training else 0.5
    think = feed_forward.FeedForward(x.shape[-1], d_ff, bias=bias, dropout=dropout)
    assert_pure(think.train(training), x, think)
    for form in ("gelu", "gelu_tanh"):
        assert_pure(getattr(feed_forward, form), x)


@given(sequences(), sizes(), st.booleans(), st.sampled_from(HALVES))
@example(large(3, 96), 384, True, torch.bfloat16)
def test_half_precision_is_close(feed_forward, x, d_ff, bias, dtype):
    think = feed_forward.FeedForward(x.shape[-1], d_ff, bias=bias)
    (half, vectors), (exact, same) = half_and_exact(dtype, think, x / 8)
    y = half(vectors)
    assert y.dtype == dtype
    assert_rounded(y, by_formula(exact, same), roundings=8, largest=largest(exact, same))
    for form, kind in {"gelu": "none", "gelu_tanh": "tanh"}.items():
        found, wanted = getattr(feed_forward, form)(vectors), F.gelu(same, approximate=kind)
        assert_rounded(found, wanted, roundings=8, largest=size(same))


@given(sequences(), st.data())
def test_each_position_alone(feed_forward, x, data):
    think = feed_forward.FeedForward(x.shape[-1], d_ff=3)
    t = data.draw(st.integers(0, x.shape[-2] - 1), "t")
    assert_close(think(x)[..., t : t + 1, :], think(x[..., t : t + 1, :]))


@given(sizes(), sizes(), st.none() | st.booleans())
def test_parameter_count(feed_forward, d_model, d_ff, bias):
    options = {} if bias is None else {"bias": bias}
    with single_precision():
        parameters = list(feed_forward.FeedForward(d_model, d_ff, **options).parameters())
    count = 2 * d_model * d_ff + (0 if bias is False else d_ff + d_model)
    assert sum(parameter.numel() for parameter in parameters) == count
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


@given(sequences())
def test_dropout_is_off_in_eval(feed_forward, x):
    think = feed_forward.FeedForward(x.shape[-1], d_ff=3, dropout=0.5).eval()
    assert_close(think(x), think(x), rtol=0, atol=0)


@given(sizes(), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_falls_on_the_output(feed_forward, d_model, dropout):
    """2,000 draws: the share dropped is within 6 standard errors of `dropout`."""
    think = feed_forward.FeedForward(d_model, d_ff=2, dropout=dropout)
    torch.nn.init.zeros_(think.down.weight)
    torch.nn.init.ones_(think.down.bias)
    y = think(torch.zeros(2000, d_model))
    dropped = (y == 0).to(y.dtype)
    assert_close(y, (1 - dropped) / (1 - dropout))
    variance = dropout * (1 - dropout)
    assert abs(dropped.double().mean().item() - dropout) < 6 * (variance / y.numel()) ** 0.5
    coins = dropped.double() - dropout  # each its own: two columns go together by chance alone
    together = (coins.T @ coins / len(coins)).fill_diagonal_(0)
    assert together.abs().max() < 6 * variance / len(coins) ** 0.5


@given(st.sampled_from(["d_model", "d_ff"]), st.integers(max_value=0))
def test_rejects_widths(feed_forward, name, width):
    with rejects(name, width):
        feed_forward.FeedForward(**{"d_model": 2, "d_ff": 2, name: width})


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(feed_forward, dropout):
    with rejects("dropout", dropout):
        feed_forward.FeedForward(2, 2, dropout=dropout)
