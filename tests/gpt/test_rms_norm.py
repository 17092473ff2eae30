import math

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from gptspec.gpt import layer_norm
from strategies import assert_close, rejects, sequences, sizes, tensors

epsilons = st.sampled_from([1e-5, 1e-3, 0.5])
halves = st.sampled_from([torch.float16, torch.bfloat16])


def mean_square(x):
    return x.square().mean(-1, keepdim=True)


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


@given(sequences(), halves, st.sampled_from([0.01, 1.0, 1000.0]))
def test_half_is_full_rounded(rms_norm, x, half, scale):
    x = (x * scale).to(half)
    full = rms_norm.rms_normalize(x.double()).to(half)
    assert_close(rms_norm.rms_normalize(x), full)
    assert_close(rms_norm.RMSNorm(x.shape[-1]).to(half)(x), full)


@given(sequences(), epsilons)
def test_starts_as_rms_normalize(rms_norm, x, eps):
    assert_close(rms_norm.RMSNorm(x.shape[-1], eps=eps)(x), rms_norm.rms_normalize(x, eps))


@given(sequences(), epsilons, st.data())
def test_kernel_is_formula(rms_norm, x, eps, data):
    norm = rms_norm.RMSNorm(x.shape[-1], eps=eps)
    with torch.no_grad():
        norm.weight.copy_(data.draw(tensors(x.shape[-1]), "weight"))
    assert_close(norm(x), rms_norm.rms_normalize(x, eps) * norm.weight)


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
