import math

import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from attending import size
from layers import assert_pure, assert_same_gradients, large, rounding
from strategies import (
    HALVES,
    LIFTED,
    assert_close,
    assert_rounded,
    half_and_exact,
    rejects,
    sequences,
    single_precision,
    sizes,
    tensors,
)

epsilons = st.sampled_from([1e-5, 1e-3, 0.5])


SHIFT = 2 ** (-int(math.log2(torch.finfo(torch.get_default_dtype()).eps)) // 2)


def variance(x):
    return (x - x.mean(-1, keepdim=True)).square().mean(-1)


def trained(layer_norm, d_model, data, **options):
    """Return a layer norm whose numbers are drawn."""
    norm = layer_norm.LayerNorm(d_model, **options)
    for name, parameter in norm.named_parameters():
        parameter.data = data.draw(tensors(d_model), name)
    return norm


def by_formula(x, weight, bias, eps):
    """Return layer norm as the formula is written."""
    centred = x - x.mean(-1, keepdim=True)
    y = centred / (centred.square().mean(-1, keepdim=True) + eps) ** 0.5
    return y * weight + (0 if bias is None else bias)


@given(sequences(), epsilons)
def test_centred_and_scaled(layer_norm, x, eps):
    y = layer_norm.normalize(x, eps)
    assert y.shape == x.shape
    x, y, within = x.to(LIFTED), y.to(LIFTED), rounding(4, x.shape[-1] ** 0.5)
    assert_close(y.mean(-1), torch.zeros(x.shape[:-1], dtype=LIFTED), **within)
    assert_close(variance(y), variance(x) / (variance(x) + eps), **within)


@given(sequences(d_model=st.sampled_from([1, 2, 4, 8])), st.sampled_from([1, -SHIFT, SHIFT]))
def test_shift_changes_nothing(layer_norm, x, shift):
    """Whole numbers, in a type that holds them shifted, and a width that halves their mean."""
    x = x.round().remainder(64)
    assert_close(layer_norm.normalize(x + shift), layer_norm.normalize(x))


@given(sequences(), epsilons, st.sampled_from([-9, -4, 3, 7, 16, 2**-4]))
def test_scale_changes_nothing(layer_norm, x, eps, scale):
    x, sign = x.round().remainder(16), 1 if scale > 0 else -1  # whole numbers: c x is exact
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
    assert_close(layer_norm.normalize(x, eps), F.layer_norm(x, x.shape[-1:], eps=eps))
    x = x.double().requires_grad_()
    ours, theirs = layer_norm.normalize(x, eps), F.layer_norm(x, x.shape[-1:], eps=eps)
    assert_same_gradients(ours, theirs, x)


@given(sizes(), st.integers(-(10**6), 10**6))
def test_equal_numbers_become_zero(layer_norm, d_model, number):
    x = torch.full((d_model,), float(number))
    assert_close(layer_norm.normalize(x), torch.zeros(d_model))


@given(sequences(), st.none() | epsilons, st.booleans())
def test_starts_as_normalize(layer_norm, x, eps, bias):
    options = {} if eps is None else {"eps": eps}
    norm = layer_norm.LayerNorm(x.shape[-1], bias=bias, **options)
    assert_close(norm(x), layer_norm.normalize(x, **options))
    assert (norm.weight == 1).all()
    with single_precision():
        made = layer_norm.LayerNorm(2, bias=bias).parameters()
        assert {parameter.dtype for parameter in made} == {torch.float32}


@given(tensors(sizes(), sizes()).map(lambda x: x / 1000))
def test_eps_is_gpt2s(layer_norm, x):
    """Numbers near 0 show it."""
    expected = F.layer_norm(x, x.shape[-1:], eps=1e-5)
    assert_close(layer_norm.normalize(x), expected, **rounding(4, expected))
    norm = layer_norm.LayerNorm(x.shape[-1])
    assert_close(norm(x), expected, **rounding(4, expected))
    assert sum(parameter.numel() for parameter in norm.parameters()) == 2 * x.shape[-1]


@given(sequences(), epsilons, st.booleans(), st.booleans(), st.data())
def test_kernel_is_formula(layer_norm, x, eps, bias, training, data):
    norm = trained(layer_norm, x.shape[-1], data, eps=eps, bias=bias).train(training)
    scaled = layer_norm.normalize(x, eps) * norm.weight
    expected = scaled if norm.bias is None else scaled + norm.bias
    assert_close(norm(x), expected, **rounding(4, size(scaled) + size(expected)))


@given(sequences(), epsilons | st.just(1e-8), st.booleans(), st.booleans(), st.data())
def test_gradients_equal_the_formula(layer_norm, x, eps, bias, training, data):
    norm = trained(layer_norm, x.shape[-1], data, eps=eps, bias=bias).double().train(training)
    x = x.double().requires_grad_()
    assert_same_gradients(norm(x), by_formula(x, norm.weight, norm.bias, eps), x, norm)
    assert_same_gradients(layer_norm.normalize(x, eps), by_formula(x, 1, None, eps), x)


def test_holds_at_real_sizes(layer_norm):
    for far in (0, 30_000):
        x, norm = large().double() + far, layer_norm.LayerNorm(96).double()
        norm.weight.data, norm.bias.data = large(2, 96).double()
        expected = by_formula(x, norm.weight, norm.bias, 1e-5)
        assert_close(norm(x), expected)
        assert_close(layer_norm.normalize(x), by_formula(x, 1, None, 1e-5))


@given(sequences(), epsilons, st.booleans(), st.booleans(), st.data())
def test_is_pure(layer_norm, x, eps, bias, training, data):
    norm = trained(layer_norm, x.shape[-1], data, eps=eps, bias=bias).train(training)
    assert_pure(norm, x, norm)
    assert_pure(lambda x: layer_norm.normalize(x, eps), x)


@given(sequences(), epsilons, st.booleans(), st.sampled_from(HALVES), st.data())
@example(large(3, 96), 1e-5, True, torch.bfloat16, None)
def test_half_precision_is_close(layer_norm, x, eps, bias, dtype, data):
    norm = layer_norm.LayerNorm(x.shape[-1], eps=eps, bias=bias)
    if data is not None:
        norm = trained(layer_norm, x.shape[-1], data, eps=eps, bias=bias)
    far = 50 * torch.ones(x.shape[:-1])[..., None].cumsum(-2)  # means that 16 bits would round
    (half, vectors), (exact, same) = half_and_exact(dtype, norm, x + far)
    y = layer_norm.normalize(vectors, eps)
    assert y.dtype == dtype
    expected = by_formula(same, 1, None, eps)
    # Inside, numbers as large as x are rounded to float32, and then divided.
    inside = size(same) / eps**0.5 * 2**-22 / torch.finfo(dtype).eps
    assert_rounded(y, expected, roundings=1.01, largest=size(expected) + inside)
    scaled = expected * exact.weight
    result = scaled if exact.bias is None else scaled + exact.bias
    largest = size(scaled) + size(result) + inside * size(exact.weight)
    assert_rounded(half(vectors), result, roundings=3, largest=largest)


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
