import math

import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from gptspec.gpt import layer_norm
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

epsilons = st.sampled_from([1e-5, 1e-3, 0.5])


def mean_square(x):
    return x.square().mean(-1, keepdim=True)


def trained(rms_norm, d_model, data, **options):
    """Return an RMS norm whose scales are drawn."""
    norm = rms_norm.RMSNorm(d_model, **options)
    norm.weight.data = data.draw(tensors(d_model), "weight")
    return norm


def by_formula(x, weight, eps):
    """Return RMS norm as the formula is written."""
    return x / (mean_square(x) + eps) ** 0.5 * weight


@given(sequences(), epsilons)
def test_mean_square_of_one(rms_norm, x, eps):
    y = rms_norm.rms_normalize(x, eps)
    assert y.shape == x.shape
    assert_close(mean_square(y), mean_square(x) / (mean_square(x) + eps))


@given(sequences(), epsilons)
def test_direction_is_kept(rms_norm, x, eps):
    y = rms_norm.rms_normalize(x, eps)
    assert_close(y * x.norm(dim=-1, keepdim=True), x * y.norm(dim=-1, keepdim=True))


@given(sequences(), epsilons, st.integers(-9, 9).filter(bool))
def test_scale_changes_nothing(rms_norm, x, eps, scale):
    sign = 1 if scale > 0 else -1
    scaled = rms_norm.rms_normalize(x * scale, eps * scale**2)
    assert_close(scaled, sign * rms_norm.rms_normalize(x, eps))


@given(sequences(), epsilons)
def test_centred_is_layer_norm(rms_norm, x, eps):
    centred = x - x.mean(-1, keepdim=True)
    assert_close(rms_norm.rms_normalize(centred, eps), layer_norm.normalize(x, eps))


@given(sequences(), st.data())
def test_each_vector_alone(rms_norm, x, data):
    t = data.draw(st.integers(0, x.shape[-2] - 1), "t")
    only = x[..., t : t + 1, :]
    assert_close(rms_norm.rms_normalize(x)[..., t : t + 1, :], rms_norm.rms_normalize(only))


@given(sequences(), epsilons)
def test_equals_torch(rms_norm, x, eps):
    x.requires_grad_()
    ours, theirs = rms_norm.rms_normalize(x, eps), F.rms_norm(x, x.shape[-1:], eps=eps)
    assert_close(ours, theirs)
    push = torch.randn_like(x)
    assert_close(torch.autograd.grad(ours, x, push), torch.autograd.grad(theirs, x, push))


@given(sequences(), epsilons, st.data())
def test_equals_llama(rms_norm, x, eps, data):
    """In float32, since transformers computes in it whatever it is given."""
    x, norm = x.float(), rms_norm.RMSNorm(x.shape[-1], eps=eps).float()
    theirs = LlamaRMSNorm(x.shape[-1], eps).float()
    with torch.no_grad():
        norm.weight.copy_(data.draw(tensors(x.shape[-1]), "weight"))
    theirs.load_state_dict(norm.state_dict())
    assert_close(norm(x), theirs(x))


SCALES = st.sampled_from([0.01, 1.0, 1000.0])


@given(sequences(), epsilons, st.sampled_from(HALVES), SCALES, st.data())
@example(large(3, 96), 1e-5, torch.bfloat16, 1000.0, None)
def test_half_is_full_rounded(rms_norm, x, eps, dtype, scale, data):
    norm = rms_norm.RMSNorm(x.shape[-1], eps=eps)
    if data is not None:
        norm = trained(rms_norm, x.shape[-1], data, eps=eps)
    (half, vectors), (exact, same) = half_and_exact(dtype, norm, x * scale)
    y = rms_norm.rms_normalize(vectors, eps)
    assert y.dtype == dtype
    assert_rounded(y, by_formula(same, 1, eps), roundings=1.01)
    assert_rounded(half(vectors), by_formula(same, exact.weight, eps), roundings=2.01)


@given(sequences(), epsilons)
def test_starts_as_rms_normalize(rms_norm, x, eps):
    norm = rms_norm.RMSNorm(x.shape[-1], eps=eps)
    assert_close(norm(x), rms_norm.rms_normalize(x, eps))
    assert (norm.weight == 1).all()
    with single_precision():
        assert rms_norm.RMSNorm(2).weight.dtype == torch.float32


@given(tensors(sizes(), sizes()).map(lambda x: x / 1000))
def test_eps_is_llamas(rms_norm, x):
    """Numbers near 0 show it."""
    expected = F.rms_norm(x, x.shape[-1:], eps=1e-5)
    assert_close(rms_norm.rms_normalize(x), expected, **rounding(4, expected))
    assert_close(rms_norm.RMSNorm(x.shape[-1])(x), expected, **rounding(4, expected))


@given(sequences(), epsilons, st.booleans(), st.data())
def test_kernel_is_formula(rms_norm, x, eps, training, data):
    norm = trained(rms_norm, x.shape[-1], data, eps=eps).train(training)
    expected = rms_norm.rms_normalize(x, eps) * norm.weight
    assert_close(norm(x), expected, **rounding(3, expected))


@given(sequences(), epsilons | st.just(1e-8), st.booleans(), st.data())
def test_gradients_equal_the_formula(rms_norm, x, eps, training, data):
    norm = trained(rms_norm, x.shape[-1], data, eps=eps).double().train(training)
    x = x.double().requires_grad_()
    assert_same_gradients(norm(x), by_formula(x, norm.weight, eps), x, norm)
    assert_same_gradients(rms_norm.rms_normalize(x, eps), by_formula(x, 1, eps), x)


def test_holds_at_real_sizes(rms_norm):
    for far in (0, 30_000):
        x, norm = large().double() + far, rms_norm.RMSNorm(96).double()
        norm.weight.data = large(96).double()
        assert_close(norm(x), by_formula(x, norm.weight, 1e-5))
        assert_close(rms_norm.rms_normalize(x), by_formula(x, 1, 1e-5))


@given(sequences(), epsilons, st.booleans(), st.data())
def test_is_pure(rms_norm, x, eps, training, data):
    norm = trained(rms_norm, x.shape[-1], data, eps=eps).train(training)
    assert_pure(norm, x, norm)
    assert_pure(lambda x: rms_norm.rms_normalize(x, eps), x)


@given(sizes())
def test_parameter_count(rms_norm, d_model):
    assert [p.shape for p in rms_norm.RMSNorm(d_model).parameters()] == [(d_model,)]


@given(st.integers(max_value=0))
def test_rejects_d_model(rms_norm, d_model):
    with rejects("d_model", d_model):
        rms_norm.RMSNorm(d_model)


@given(st.floats(max_value=0) | st.sampled_from([math.nan, math.inf]))
def test_rejects_eps(rms_norm, eps):
    with rejects("eps", eps):
        rms_norm.RMSNorm(2, eps=eps)
