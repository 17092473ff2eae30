import math

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from strategies import assert_close, rejects, sequences, sizes, tensors

epsilons = st.sampled_from([1e-5, 1e-3, 0.5])


def variance(x):
    return (x - x.mean(-1, keepdim=True)).square().mean(-1)


@given(sequences(), epsilons)
def test_centred_and_scaled(layer_norm, x, eps):
    y = layer_norm.normalize(x, eps)
    assert y.shape == x.shape
    assert_close(y.mean(-1), torch.zeros(x.shape[:-1]))
    assert_close(variance(y), variance(x) / (variance(x) + eps))


@given(sequences(), st.sampled_from([1, -1000, 10**6]))
def test_shift_changes_nothing(layer_norm, x, shift):
    assert_close(layer_norm.normalize(x + shift), layer_norm.normalize(x))


@given(sequences(), epsilons, st.integers(-9, 9).filter(bool))
def test_scale_changes_nothing(layer_norm, x, eps, scale):
    sign = 1 if scale > 0 else -1
    assert_close(
        layer_norm.normalize(x * scale, eps * scale**2), sign * layer_norm.normalize(x, eps)
    )


@given(sequences(), st.data())
def test_each_vector_alone(layer_norm, x, data):
    t = data.draw(st.integers(0, x.shape[-2] - 1), "t")
    only = x[..., t : t + 1, :]
    assert_close(layer_norm.normalize(x)[..., t : t + 1, :], layer_norm.normalize(only))


@given(sequences(), epsilons)
def test_equals_torch(layer_norm, x, eps):
    x.requires_grad_()
    ours, theirs = layer_norm.normalize(x, eps), F.layer_norm(x, x.shape[-1:], eps=eps)
    assert_close(ours, theirs)
    push = torch.randn_like(x)
    assert_close(torch.autograd.grad(ours, x, push), torch.autograd.grad(theirs, x, push))


@given(sizes(), st.integers(-(10**6), 10**6))
def test_equal_numbers_become_zero(layer_norm, d_model, number):
    x = torch.full((d_model,), float(number))
    assert_close(layer_norm.normalize(x), torch.zeros(d_model))


@given(sequences(), st.none() | epsilons, st.booleans())
def test_starts_as_normalize(layer_norm, x, eps, bias):
    options = {} if eps is None else {"eps": eps}
    norm = layer_norm.LayerNorm(x.shape[-1], bias=bias, **options)
    assert_close(norm(x), layer_norm.normalize(x, **options))


@given(sequences(), epsilons, st.data())
def test_kernel_is_formula(layer_norm, x, eps, data):
    norm = layer_norm.LayerNorm(x.shape[-1], eps=eps)
    with torch.no_grad():
        norm.weight.copy_(data.draw(tensors(x.shape[-1]), "weight"))
        norm.bias.copy_(data.draw(tensors(x.shape[-1]), "bias"))
    assert_close(norm(x), layer_norm.normalize(x, eps) * norm.weight + norm.bias)


@given(sizes(), st.booleans())
def test_parameter_count(layer_norm, d_model, bias):
    parameters = layer_norm.LayerNorm(d_model, bias=bias).parameters()
    assert sum(parameter.numel() for parameter in parameters) == d_model * (2 if bias else 1)


@given(st.integers(max_value=0))
def test_rejects_d_model(layer_norm, d_model):
    with rejects("d_model", d_model):
        layer_norm.LayerNorm(d_model)


@given(st.floats(max_value=0) | st.sampled_from([math.nan, math.inf]))
def test_rejects_eps(layer_norm, eps):
    with rejects("eps", eps):
        layer_norm.LayerNorm(2, eps=eps)
