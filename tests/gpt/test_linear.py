import copy
import gc
import weakref
from unittest.mock import patch

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from strategies import (
    assert_close,
    assert_same,
    assert_same_on_views,
    gradients,
    keeps,
    owned,
    unwritten,
)

SINGLE = torch.float32
seeds = st.integers(0, 2**32 - 1)


def noise(*shape, seed=0, dtype=SINGLE):
    source = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=source, device="cpu", dtype=dtype)


def made(linear, d_in, d_out, *, bias=True, seed=0, dtype=SINGLE):
    """A layer of whole numbers, whose products float32 gives exactly."""
    layer = linear.Linear(d_in, d_out, bias=bias, dtype=dtype, device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(noise(*parameter.shape, seed=seed).mul(3).round())
    return layer


def vectors(*shape, seed=0):
    return noise(*shape, seed=seed).mul(3).round()


def plain(layer, x):
    return F.linear(x, layer.weight, layer.bias)


def processor(capability="AVX512"):
    """In the block torch finds these instructions; packed weights are right with any."""
    return patch("torch.backends.cpu.get_cpu_capability", lambda: capability)


def read(linear, layer, x, *, new_text=True, capability="AVX512"):
    """What a layer gives while a model reads."""
    with processor(capability), torch.no_grad(), linear.packing(new_text=new_text):
        return layer(x)


def packs(linear, layer, x, **options):
    """Return whether packed weights were read."""
    called = []
    with patch.object(
        linear.torch.ops.mkldnn, "_linear_pointwise", counted(called, linear), create=True
    ):
        read(linear, layer, x, **options)
    return bool(called)


def counted(called, linear):
    real = linear.torch.ops.mkldnn._linear_pointwise

    def call(*arguments):
        called.append(arguments)
        return real(*arguments)

    return call


@settings(max_examples=15)
@given(
    st.sampled_from([(1,), (16,), (3, 2), (1, 1), (17,), (2, 0), ()]), st.booleans(), seeds,
    st.sampled_from([(128, 128), (256, 70), (97, 300), (4, 5)]),
)  # fmt: skip
@example((8,), True, 0, (192, 9_000))
def test_is_torchs(linear, axes, bias, seed, size):
    layer, x = made(linear, *size, bias=bias, seed=seed), vectors(*axes, size[0], seed=seed)
    with keeps(layer, x):
        found = owned(lambda: read(linear, layer, x))
    assert found.shape == (*axes, size[1])
    assert found.dtype == x.dtype
    assert_close(found, plain(layer, x).detach(), rtol=0, atol=0)
    assert_close(layer(x), plain(layer, x), rtol=0, atol=0)
    if axes and x.numel():
        assert_same_on_views(lambda view: read(linear, layer, view), x)


@settings(max_examples=15)
@given(st.sampled_from([1, 2, 15, 16, 17, 40]), st.sampled_from([127, 128, 200]), seeds)
@example(16, 128, 0)
@example(17, 128, 0)
def test_packs_what_gains(linear, rows, width, seed):
    layer, x = made(linear, width, 128, seed=seed), vectors(rows, width, seed=seed)
    assert not packs(linear, layer, x, capability="AVX2")
    assert packs(linear, layer, x) == (rows <= 16 and width >= 128)
    assert not packs(linear, layer.double(), x.double())
    outside = []
    replaced = counted(outside, linear)
    with patch.object(linear.torch.ops.mkldnn, "_linear_pointwise", replaced, create=True):
        with torch.no_grad():
            layer.float()(x)
        with processor(), torch.no_grad(), linear.packing(new_text=True):
            torch.autocast("cpu", torch.bfloat16)(layer)(x)
    assert not outside


CHANGES = {
    "in place": lambda layer: layer.weight.mul_(2),
    "one number": lambda layer: layer.weight[-1, -1].add_(1),
    "bias": lambda layer: layer.bias.add_(1),
    "exchanged": lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight + 1)),
    "new data": lambda layer: setattr(layer.weight, "data", layer.weight + 1),
    "loaded": lambda layer: layer.load_state_dict(
        {name: value + 1 for name, value in layer.state_dict().items()}
    ),
    "through data": lambda layer: layer.weight.data.mul_(2),
    "one number through data": lambda layer: layer.weight.data[3, 5].add_(1),
    "two exchanged through data": lambda layer: layer.weight.data.copy_(layer.weight.roll(1, 0)),
}


def step(layer):
    with torch.enable_grad():
        layer(torch.ones(1, layer.in_features, dtype=SINGLE)).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=1.0).step()


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*CHANGES, "step"]), min_size=1, max_size=4), st.booleans(), seeds)
@example([*CHANGES, "step"], False, 0)
@example([*CHANGES, "step"], True, 0)
def test_never_stale(linear, changes, between, seed):
    layer, other = made(linear, 128, 130, seed=seed), made(linear, 128, 130, seed=seed + 1)
    x = vectors(2, 128, seed=seed)
    read(linear, layer, x)
    for change in changes:
        if between:  # a text of another model
            read(linear, other, x)
        with torch.no_grad():
            CHANGES.get(change, step)(layer)
        found = read(linear, layer, x, new_text="data" in change)
        assert_close(found, plain(layer, x).detach(), rtol=0, atol=0)
        assert_close(read(linear, layer, x, new_text=False), found, rtol=0, atol=0)


@settings(max_examples=10)
@given(st.booleans(), seeds)
def test_training_is_untouched(linear, bias, seed):
    layer, x = made(linear, 128, 129, bias=bias, seed=seed), vectors(2, 128, seed=seed)
    before = copy.deepcopy(layer.state_dict())
    read(linear, layer, x)
    assert_same(dict(layer.state_dict()), dict(before))
    assert [name for name, _ in layer.named_buffers()] == []
    x.requires_grad_()
    try:
        with processor(), linear.packing(new_text=True):
            y = layer(x)
        found = gradients(y, x, layer)
    except (RuntimeError, UserWarning) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"there is no way back: {error}") from error
    assert_close(found, gradients(plain(layer, x), x, layer))
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight.add_(1)
    assert_close(read(linear, twin, x), plain(twin, x).detach(), rtol=0, atol=0)
    assert_close(read(linear, layer, x), plain(layer, x).detach(), rtol=0, atol=0)
    gone = weakref.ref(layer)
    del layer, y
    gc.collect()
    assert gone() is None


@settings(max_examples=5)
@given(st.sampled_from(["_linear_pointwise", "_reorder_linear_weight"]), seeds)
def test_falls_back(linear, absent, seed):
    layer, x = made(linear, 128, 128, seed=seed), vectors(2, 128, seed=seed)

    real = torch.ops.mkldnn

    class Without:
        def __getattr__(self, name):
            if name == absent:
                raise AttributeError(name)
            return getattr(real, name)

    with patch.object(linear.torch.ops, "mkldnn", Without()):
        try:
            found = read(linear, layer, x)
        except AttributeError as error:
            raise AssertionError(f"cannot do without {absent}") from error
    assert_close(found, plain(layer, x).detach(), rtol=0, atol=0)
