import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gptspec.gpt.config import GPTConfig
from gptspec.positions.alibi import alibi
from gptspec.positions.relative import RelativeBias
from gptspec.positions.rotary import rotate
from gptspec.positions.sinusoidal import sinusoids
from strategies import (
    assert_close,
    assert_same_on_views,
    elsewhere,
    gradients,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
)

KINDS = ["learned", "sinusoidal", "relative", "rotary", "alibi", "none"]
EMBEDDED = ["learned", "sinusoidal"]
BIASED = ["relative", "alibi"]


def config(positions="none", *, context_length=7, d_model=4, n_heads=2, theta=10_000.0):
    return GPTConfig(
        vocab_size=1, n_layers=1, context_length=context_length, d_model=d_model,
        n_heads=n_heads, positions=positions, theta=theta,
    )  # fmt: skip


@st.composite
def configs(draw, *kinds):
    n_heads = draw(sizes(1, 3))
    return config(
        draw(st.sampled_from(kinds or KINDS)),
        context_length=draw(sizes(1, 7)),
        d_model=n_heads * 2 * draw(sizes(1, 2)),
        n_heads=n_heads,
        theta=draw(st.sampled_from([10.0, 10_000.0])),
    )


def made(positions, config):
    """Positions whose numbers are not those they begin with."""
    kind = positions.make_positions(config)
    for parameter in kind.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return kind


@st.composite
def embedded(draw, shape):
    """The vectors of a part of a text that fits, and the position of the first of them."""
    time = draw(st.integers(0, shape.context_length), "time")
    start = draw(st.integers(0, shape.context_length - time), "start")
    return draw(tensors(time, shape.d_model, batch=2), "x"), start


@given(configs(), st.data())
def test_each_acts_in_one_place(positions, shape, data):
    kind = made(positions, shape)
    x, start = data.draw(embedded(shape))
    x, time = x + 1, x.shape[-2]
    heads = x.unflatten(-1, (shape.n_heads, -1)).transpose(-3, -2)
    if shape.positions not in EMBEDDED:
        assert kind.embed(x, start) is x
    if shape.positions != "rotary":
        assert kind.rotate(heads, start) is heads
    bias = kind.score_bias(time, start + time)
    assert (bias is None) == (shape.positions not in BIASED)


def embedding(kind, x, start, shape):
    """By hand."""
    end = start + x.shape[-2]
    if shape.positions == "learned":
        return x + kind.weight[start:end]
    return x * math.sqrt(shape.d_model) + sinusoids(end, shape.d_model)[start:]


@given(configs(*EMBEDDED), st.data())
@example(config("learned", context_length=1100, d_model=96), None)
@example(config("sinusoidal", context_length=1100, d_model=96), None)
def test_embed_adds(positions, shape, data):
    kind = made(positions, shape)
    x, start = (torch.ones(1000, 96), 100) if data is None else data.draw(embedded(shape))
    x.requires_grad_()
    with keeps(x, kind):
        y = owned(lambda: kind.embed(x, start))
    expected = embedding(kind, x, start, shape)
    assert_close(y, expected)
    assert_close(gradients(y, x, kind), gradients(expected, x, kind))
    assert_same_on_views(lambda x: kind.embed(x, start), x.detach())
    if start == 0:
        assert_close(kind.embed(x), y)


@given(configs("rotary"), tensors(sizes(0, 7), 4, batch=2), st.integers(0, 3000))
@example(config("rotary", theta=500_000.0), torch.ones(12, 1100, 8), 1000)
def test_rotate_rotates(positions, shape, heads, start):
    kind = positions.make_positions(shape)
    heads.requires_grad_()
    with keeps(heads, kind):
        y = owned(lambda: kind.rotate(heads, start=start))
    expected = rotate(heads, start=start, theta=shape.theta)
    assert_close(y, expected)
    assert_close(gradients(y, heads), gradients(expected, heads))
    assert_close(kind.rotate(heads), rotate(heads, theta=shape.theta))


@st.composite
def times(draw):
    key_time = draw(sizes(0, 7))
    return draw(sizes(0, key_time)), key_time


@given(configs(*BIASED), times())
@example(config("alibi", d_model=24, n_heads=12), (100, 1100))
@example(config("relative", d_model=24, n_heads=12), (100, 1100))
def test_bias_is_by_distance(positions, shape, times):
    kind, n_heads = made(positions, shape), shape.n_heads
    with keeps(kind):
        bias = owned(lambda: kind.score_bias(*times))
    if shape.positions == "alibi":
        assert_close(bias, alibi(n_heads, *times))
        return
    table = RelativeBias(n_heads, n_buckets=32, max_distance=128, causal=True)
    assert kind.weight.shape == table.weight.shape
    table.load_state_dict(kind.state_dict())
    assert_close(bias, table(*times))
    assert_close(gradients(bias, kind), gradients(table(*times), table))


@given(configs(), st.sampled_from([torch.bfloat16, torch.float32, torch.float64]), st.data())
def test_type_and_device_of_the_model(positions, shape, dtype, data):
    kind = made(positions, shape).to(dtype)
    x, start = data.draw(embedded(shape))
    x, time = x.to(dtype), x.shape[-2]
    asked = {"dtype": x.dtype, "device": x.device}

    def used():
        return [kind.embed(x, start), kind.rotate(x, start)], kind.score_bias(time, time, **asked)

    expected = used()
    with elsewhere():
        found = used()
    for ours, theirs in [*zip(found[0], expected[0], strict=True), (found[1], expected[1])]:
        if theirs is not None:
            assert ours.dtype == dtype
            assert_close(ours, theirs)


@given(configs())
def test_learns_what_it_should(positions, shape):
    kind = positions.make_positions(shape)
    tables = {
        "learned": (shape.context_length, shape.d_model),
        "relative": (32, shape.n_heads),
    }
    wanted = {"weight": tables[shape.positions]} if shape.positions in tables else {}
    assert {name: tuple(x.shape) for name, x in kind.state_dict().items()} == wanted
    assert {name: tuple(x.shape) for name, x in kind.named_parameters()} == wanted


@given(configs("learned"), sizes(1, 3))
def test_rejects_places_beyond_the_table(positions, shape, beyond):
    limit = shape.context_length
    with rejects("context_length", limit):
        positions.make_positions(shape).embed(torch.ones(1, shape.d_model), limit + beyond - 1)
    with rejects("start", -beyond):
        positions.make_positions(shape).embed(torch.ones(1, shape.d_model), -beyond)
