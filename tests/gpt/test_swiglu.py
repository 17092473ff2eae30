import math

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from strategies import assert_close, rejects, sequences, sizes, tensors

numbers = st.floats(-12, 12) | st.integers(-12, 12).map(float)


@given(numbers)
def test_silu_is_a_share(swiglu, number):
    x = torch.tensor(number)
    number = x.item()  # as it is rounded to the type
    share = 1 / (1 + math.exp(-number))
    assert_close(swiglu.silu(x), torch.tensor(number * share))


@given(tensors(sizes(), sizes(), batch=1))
def test_silu_equals_torch(swiglu, x):
    x.requires_grad_()
    ours, theirs = swiglu.silu(x), F.silu(x)
    assert_close(ours, theirs)
    push = torch.randn_like(x)
    assert_close(torch.autograd.grad(ours, x, push), torch.autograd.grad(theirs, x, push))


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
    assert_close(y, think.down(swiglu.silu(think.gate(x)) * think.up(x)))


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
    before = think(x)
    with torch.no_grad():
        think.up.weight.mul_(factor)
    assert_close(think(x), before * factor)
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


@given(sizes(), sizes(), st.booleans())
def test_parameter_count(swiglu, d_model, d_ff, bias):
    parameters = swiglu.SwiGLU(d_model, d_ff, bias=bias).parameters()
    count = 3 * d_model * d_ff + (2 * d_ff + d_model if bias else 0)
    assert sum(parameter.numel() for parameter in parameters) == count


@given(sequences())
def test_dropout_is_off_in_eval(swiglu, x):
    think = swiglu.SwiGLU(x.shape[-1], d_ff=3, dropout=0.5).eval()
    assert_close(think(x), think(x), rtol=0, atol=0)


@given(sizes(), st.sampled_from([0.1, 0.5]))
def test_dropout_falls_on_the_output(swiglu, d_model, dropout):
    """2,000 draws: the share dropped is within 6 standard errors of `dropout`."""
    think = swiglu.SwiGLU(d_model, d_ff=2, dropout=dropout, bias=True)
    torch.nn.init.zeros_(think.down.weight)
    torch.nn.init.ones_(think.down.bias)
    y = think(torch.zeros(2000, d_model))
    dropped = (y == 0).to(y.dtype)
    assert_close(y, (1 - dropped) / (1 - dropout))
    error = (dropout * (1 - dropout) / y.numel()) ** 0.5
    assert abs(dropped.mean().item() - dropout) < 6 * error


@given(st.sampled_from(["d_model", "d_ff"]), st.integers(max_value=0))
def test_rejects_widths(swiglu, name, width):
    with rejects(name, width):
        swiglu.SwiGLU(**{"d_model": 2, "d_ff": 2, name: width})


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(swiglu, dropout):
    with rejects("dropout", dropout):
        swiglu.SwiGLU(2, 2, dropout=dropout)
