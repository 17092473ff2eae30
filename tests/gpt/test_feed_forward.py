from statistics import NormalDist

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from strategies import assert_close, rejects, sequences, sizes, tensors

numbers = st.floats(-12, 12) | st.integers(-12, 12).map(float)
forms = st.sampled_from(["gelu", "gelu_tanh"])


@given(numbers)
def test_gelu_is_a_share(feed_forward, number):
    x = torch.tensor(number)
    number = x.item()  # as it is rounded to the type
    chance = NormalDist().cdf(number)
    assert_close(feed_forward.gelu(x), torch.tensor(number * chance))


@given(tensors(sizes(), sizes()))
def test_forms_equal_torch(feed_forward, x):
    assert_close(feed_forward.gelu(x), F.gelu(x))
    assert_close(feed_forward.gelu_tanh(x), F.gelu(x, approximate="tanh"))


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
    assert_close(y, think.down(feed_forward.gelu_tanh(think.up(x))))


@given(sequences(), st.data())
def test_each_position_alone(feed_forward, x, data):
    think = feed_forward.FeedForward(x.shape[-1], d_ff=3)
    t = data.draw(st.integers(0, x.shape[-2] - 1), "t")
    assert_close(think(x)[..., t : t + 1, :], think(x[..., t : t + 1, :]))


@given(sizes(), sizes(), st.booleans())
def test_parameter_count(feed_forward, d_model, d_ff, bias):
    parameters = feed_forward.FeedForward(d_model, d_ff, bias=bias).parameters()
    count = 2 * d_model * d_ff + (d_ff + d_model if bias else 0)
    assert sum(parameter.numel() for parameter in parameters) == count


@given(sequences())
def test_dropout_is_off_in_eval(feed_forward, x):
    think = feed_forward.FeedForward(x.shape[-1], d_ff=3, dropout=0.5).eval()
    assert_close(think(x), think(x), rtol=0, atol=0)


@given(sizes(), st.sampled_from([0.1, 0.5]))
def test_dropout_falls_on_the_output(feed_forward, d_model, dropout):
    """2,000 draws: the share dropped is within 6 standard errors of `dropout`."""
    think = feed_forward.FeedForward(d_model, d_ff=2, dropout=dropout)
    torch.nn.init.zeros_(think.down.weight)
    torch.nn.init.ones_(think.down.bias)
    y = think(torch.zeros(2000, d_model))
    dropped = (y == 0).to(y.dtype)
    assert_close(y, (1 - dropped) / (1 - dropout))
    error = (dropout * (1 - dropout) / y.numel()) ** 0.5
    assert abs(dropped.mean().item() - dropout) < 6 * error


@given(st.sampled_from(["d_model", "d_ff"]), st.integers(max_value=0))
def test_rejects_widths(feed_forward, name, width):
    with rejects(name, width):
        feed_forward.FeedForward(**{"d_model": 2, "d_ff": 2, name: width})


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(feed_forward, dropout):
    with rejects("dropout", dropout):
        feed_forward.FeedForward(2, 2, dropout=dropout)
