"""The helpers that laws compare with notice what they are there to notice."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from strategies import (
    assert_rounded,
    assert_same,
    assert_same_on_views,
    gradients,
    half_and_exact,
    in_turns,
    keeps,
    owned,
    rejects,
)


def touch_tensor(x, layer):
    x.add_(1)


def touch_weight(x, layer):
    layer.weight.data.mul_(2)


def touch_mode(x, layer):
    layer.eval()


def touch_gradient(x, layer):
    layer(x).sum().backward()


def touch_python(x, layer):
    random.random()


def touch_numpy(x, layer):
    np.random.rand()


def touch_torch(x, layer):
    torch.rand(1)


TOUCHES = [
    touch_tensor, touch_weight, touch_mode, touch_gradient, touch_python, touch_numpy, touch_torch,
]  # fmt: skip


@pytest.mark.parametrize("touch", TOUCHES)
def test_keeps_notices(touch):
    x, layer = torch.ones(2, 2), nn.Linear(2, 2)
    with keeps(x, layer):
        layer(x)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    with pytest.raises(AssertionError), keeps(x, layer):
        touch(x, layer)
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def test_owned_notices_a_result_that_is_shared():
    kept = torch.zeros(2), [1, 2], np.arange(3)
    owned(lambda: (kept[0].clone(), list(kept[1]), kept[2].copy()))
    for shared in kept:
        with pytest.raises(AssertionError):
            owned(lambda shared=shared: shared)


def test_owned_spoils_what_is_expanded():
    row = torch.zeros(1, 3)
    with pytest.raises(AssertionError):
        owned(lambda: row.expand(4, 3))


def test_views_equal_and_lie_otherwise():
    def by_memory(x):
        return x.untyped_storage().nbytes()

    x = torch.arange(12.0).view(3, 4)
    assert_same_on_views(lambda view: view.sum(0), x)
    with pytest.raises(AssertionError):
        assert_same_on_views(by_memory, x)
    with pytest.raises(AssertionError):
        assert_same_on_views(lambda view: torch.as_strided(view, (3,), (1,)), x)


def test_gradients_notice_a_detached_part():
    x, layer = torch.ones(3, 2, requires_grad=True), nn.Linear(2, 2)
    whole = gradients(layer(x) + x, x, layer)
    assert_same(gradients(layer(x) + x, x, layer), whole)
    with pytest.raises(AssertionError):
        assert_same(gradients(layer(x).detach() + x, x, layer), whole)
    assert_same(gradients(x.detach(), x), [torch.zeros(3, 2)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_bounded(dtype):
    (x,), (exact,) = half_and_exact(dtype, torch.linspace(-3, 3, 50))
    assert_rounded(x * x, exact * exact, roundings=1)
    with pytest.raises(AssertionError):
        assert_rounded(x * x + 0.1, exact * exact, roundings=1)


def test_streams_are_asked_in_turns():
    asked = []

    def stream(name, count):
        for number in range(count):
            asked.append(name)
            yield number

    assert in_turns(stream("a", 3), stream("b", 1)) == [[0, 1, 2], [0]]
    assert asked == ["a", "b", "a", "a"]


def one_argument(a):
    return a


@pytest.mark.parametrize("code", ["undefined", "None.missing", "one_argument(b=1)", "len()"])
def test_a_crash_is_no_rejection(code):
    with pytest.raises((NameError, AttributeError, TypeError)), rejects():
        eval(code, {"one_argument": one_argument})


def test_other_failures_break_the_law():
    with pytest.raises(AssertionError, match="IndexError"), rejects("n"):
        raise IndexError
    with pytest.raises(AssertionError, match="accepted"), rejects("n"):
        pass
    with rejects("n", 3):
        raise ValueError("n must be 2, got 3")
