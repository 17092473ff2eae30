import math

import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

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


def by_formula(think, x):
    """Return what a SwiGLU without dropout makes, as the formula is written."""
    gate, up = (F.linear(x, part.weight, part.bias) for part in (think.gate, think.up))
    return F.linear(gate / (1 + torch.exp(-gate)) * up, think.down.weight, think.down.bias)


def largest(think, x):
    """Return the largest number on the way: sums in which nothing cancels."""

    def through(layer, x):
        return F.linear(x, layer.weight.abs(), None if layer.bias is None else layer.bias.abs())

    x = x.abs()
    return size(through(think.down, through(think.gate, x) * through(think.up, x)))


@given(numbers)
def test_silu_is_a_share(swiglu, number):
    x = torch.tensor(number)
    number = x.item()  # as it is rounded to the type
    share = 1 / (1 + math.exp(-number))
    assert_close(swiglu.silu(x), torch.tensor(number * share))


@given(tensors(sizes(), sizes(), batch=1))
def test_silu_equals_torch(swiglu, x):
    assert_close(swiglu.silu(x), F.silu(x), **rounding(3, x))
    x = x.double().requires_grad_()
    assert_same_gradients(swiglu.silu(x), F.silu(x), x)


@given(numbers)
def test_mirror(swiglu, number):
    x = torch.tensor(number)
    assert_close(swiglu.silu(x) - swiglu.silu(-x), x)


FURTHEST = min(1e300, torch.finfo(torch.get_default_dtype()).max / 2)


@given(st.floats(24, FURTHEST), st.sampled_from([-1, 1]))
def test_far_out_all_or_nothing(swiglu, distance, sign):
    x = torch.tensor(sign * distance)
    assert_close(swiglu.silu(x), x.clamp(min=0), rtol=1e-7, atol=1e-8)


@given(sequences(), sizes(), st.booleans())
def test_kernel_is_formula(swiglu, x, d_ff, bias):
    think = swiglu.SwiGLU(x.shape[-1], d_ff, bias=bias)
    y = think(x)
    assert y.shape == x.shape
    expected = think.down(swiglu.silu(think.gate(x)) * think.up(x))
    assert_close(y, expected, **rounding(8, largest(think, x)))


@given(sequences(), sizes(), st.booleans(), st.booleans())
def test_gradients_equal_the_formula(swiglu, x, d_ff, bias, training):
    think = swiglu.SwiGLU(x.shape[-1], d_ff, bias=bias).double().train(training)
    x = x.double().requires_grad_()
    assert_same_gradients(think(x), by_formula(think, x), x, think)


def test_holds_at_real_sizes(swiglu):
    x, think = 10 * large().double(), swiglu.SwiGLU(96, 384, bias=True).double()
    assert_close(think(x), by_formula(think, x))


@given(sequences(), sizes(), st.booleans(), st.booleans())
def test_is_pure(swiglu, x, d_ff, bias, training):
    dropout = 0.0 if training else 0.5
    think = swiglu.SwiGLU(x.shape[-1], d_ff, bias=bias, dropout=dropout)
    assert_pure(think.train(training), x, think)
    assert_pure(swiglu.silu, x)


@given(sequences(), sizes(), st.booleans(), st.sampled_from(HALVES))
@example(large(3, 96), 384, True, torch.bfloat16)
def test_half_precision_is_close(swiglu, x, d_ff, bias, dtype):
    think = swiglu.SwiGLU(x.shape[-1], d_ff, bias=bias)
    (half, vectors), (exact, same) = half_and_exact(dtype, think, x / 8)
    y = half(vectors)
    assert y.dtype == dtype
    assert_rounded(y, by_formula(exact, same), roundings=8, largest=largest(exact, same))
    found, wanted = swiglu.silu(vectors), F.silu(same)
    assert_rounded(found, wanted, roundings=3, largest=size(same))


@given(sequences(), sizes(), st.booleans())
def test_equals_llama(swiglu, x, d_ff, bias):
    config = LlamaConfig(
        hidden_size=x.shape[-1], intermediate_size=d_ff, mlp_bias=bias,
        num_attention_heads=1, head_dim=2,
    )  # fmt: skip
    think, theirs = swiglu.SwiGLU(x.shape[-1], d_ff, bias=bias), LlamaMLP(config)
    for name in ("gate", "up", "down"):
        getattr(theirs, f"{name}_proj").load_state_dict(getattr(think, name).state_dict())
    assert_close(think(x), theirs(x))


@given(sequences(), sizes(), st.floats(-3, 3))
def test_a_gate_times_a_line(swiglu, x, d_ff, factor):
    think = swiglu.SwiGLU(x.shape[-1], d_ff)
    before, largest_before = think(x), largest(think, x)
    with torch.no_grad():
        think.up.weight.mul_(factor)
    within = rounding(12, largest(think, x) + abs(factor) * largest_before)
    assert_close(think(x), before * factor, **within)
    with torch.no_grad():
        think.gate.weight.zero_()
    assert_close(think(x), torch.zeros_like(x))


@given(tensors(sizes(), 2, batch=1))
def test_two_gates_multiply(swiglu, x):
    think = swiglu.SwiGLU(2, 2)
    with torch.no_grad():
        think.gate.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        think.up.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        think.down.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert_close(think(x)[..., 0], x[..., 0] * x[..., 1])


@given(sequences(), st.data())
def test_each_position_alone(swiglu, x, data):
    think = swiglu.SwiGLU(x.shape[-1], d_ff=3)
    t = data.draw(st.integers(0, x.shape[-2] - 1), "t")
    assert_close(think(x)[..., t : t + 1, :], think(x[..., t : t + 1, :]))


@given(sizes(), sizes(), st.none() | st.booleans())
def test_parameter_count(swiglu, d_model, d_ff, bias):
    options = {} if bias is None else {"bias": bias}
    with single_precision():
        parameters = list(swiglu.SwiGLU(d_model, d_ff, **options).parameters())
    count = 3 * d_model * d_ff + (2 * d_ff + d_model if bias else 0)
    assert sum(parameter.numel() for parameter in parameters) == count
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


@given(sequences())
def test_dropout_is_off_in_eval(swiglu, x):
    think = swiglu.SwiGLU(x.shape[-1], d_ff=3, dropout=0.5).eval()
    assert_close(think(x), think(x), rtol=0, atol=0)


@given(sizes(), st.sampled_from([0.1, 0.5, 0.9]))
def test_dropout_falls_on_the_output(swiglu, d_model, dropout):
    """2,000 draws: the share dropped is within 6 standard errors of `dropout`."""
    think = swiglu.SwiGLU(d_model, d_ff=2, dropout=dropout, bias=True)
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
def test_rejects_widths(swiglu, name, width):
    with rejects(name, width):
        swiglu.SwiGLU(**{"d_model": 2, "d_ff": 2, name: width})


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(swiglu, dropout):
    with rejects("dropout", dropout):
        swiglu.SwiGLU(2, 2, dropout=dropout)
