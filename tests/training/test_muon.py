import copy
import math
from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gptspec.gpt.model import GPT, GPTConfig
from strategies import LIFTED, assert_close, rejects, sizes, tensors

matrices = tensors(sizes(), sizes(), batch=1)


def turn(size, seed):
    """Return a rotation, possibly mirrored."""
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    numbers = torch.randn(size, size, generator=source)
    return torch.linalg.qr(numbers.to(LIFTED)).Q.to(numbers.dtype)


seeds = st.integers(0, 2**32)


@given(matrices, sizes(1, 7))
def test_acts_on_singular_values(muon, matrix, steps):
    left, values, right = torch.linalg.svd(matrix.to(LIFTED), full_matrices=False)
    norm = values.square().sum(-1, keepdim=True).sqrt()
    values = values / norm.where(norm > 0, 1)
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = left * values[..., None, :] @ right
    assert_close(muon.orthogonalize(matrix, steps), expected.to(matrix.dtype))


@given(matrices)
def test_singular_values_near_one(muon, matrix):
    before = torch.linalg.svdvals(matrix.to(LIFTED))
    share = before / matrix.to(LIFTED).flatten(-2).norm(dim=-1, keepdim=True)
    after = torch.linalg.svdvals(muon.orthogonalize(matrix).to(LIFTED))
    assert after.shape == before.shape
    assert (after <= 1.21).all()
    assert (after[share >= 1 / 500] >= 0.68).all()


@given(tensors(sizes(), sizes()), seeds)
def test_turns_along(muon, matrix, seed):
    left, right = turn(matrix.shape[0], seed), turn(matrix.shape[1], seed + 1)
    turned = left @ muon.orthogonalize(matrix) @ right
    assert_close(muon.orthogonalize(left @ matrix @ right), turned)
    assert_close(muon.orthogonalize(matrix.mT), muon.orthogonalize(matrix).mT)


@given(matrices, st.sampled_from([1e-4, 3.0, 1e6]), st.sampled_from([1, -1]))
def test_scale_changes_nothing(muon, matrix, scale, sign):
    assert_close(muon.orthogonalize(matrix * scale * sign), sign * muon.orthogonalize(matrix))


@given(tensors(sizes(1, 3), sizes(), sizes()))
def test_each_matrix_alone(muon, stack):
    assert_close(muon.orthogonalize(stack), torch.stack([muon.orthogonalize(m) for m in stack]))


SHAPES = [(2, 2), (1, 3), (2, 2), (3, 1)]


@st.composite
def hyperparameters(draw):
    return {
        "lr": draw(st.sampled_from([1.0, 0.1, 3e-4, 0.0])),
        "momentum": draw(st.floats(0, 0.99)),
        "weight_decay": draw(st.sampled_from([0.0, 0.1, 0.5])),
    }


def split(numbers):
    return [
        part.view(shape) for part, shape in zip(numbers.split([4, 3, 4, 3]), SHAPES, strict=True)
    ]


@st.composite
def runs(draw, least=1):
    """Four matrices, and a gradient or none for each of them at each step."""
    weights, *slopes = draw(tensors(sizes(least + 1, 6), 14))
    count = len(slopes)
    seen = draw(st.lists(st.tuples(*[st.booleans()] * 4), min_size=count, max_size=count))
    gradients = [
        [gradient if there else None for gradient, there in zip(split(slope), row, strict=True)]
        for slope, row in zip(slopes, seen, strict=True)
    ]
    return split(weights), gradients


def parameters(weights):
    return [nn.Parameter(weight.clone()) for weight in weights]


def follow(mover, gradients):
    """Take a step for each list of gradients; return where the weights are then."""
    moved = [p for group in mover.param_groups for p in group["params"]]
    for step in gradients:
        for p, gradient in zip(moved, step, strict=True):
            p.grad = gradient
        # PyTorch rounds to bfloat16 before it orthogonalizes: not here.
        with patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            mover.step()
    return [p.detach().clone() for p in moved]


def torchs(params, **options):
    return torch.optim.Muon(params, **options, adjust_lr_fn="match_rms_adamw")


@given(runs(), hyperparameters(), hyperparameters() | st.just({}), st.floats(0, 2))
def test_equals_torch(muon, run, options, others, faster):
    weights, gradients = run

    def grouped():
        first, *rest = parameters(weights)
        return [{"params": [first], **options}, {"params": rest, **others}]

    ours, theirs = muon.Muon(grouped()), torchs(grouped())
    for step in gradients:
        assert_close(follow(ours, [step]), follow(theirs, [step]))
        for group in ours.param_groups + theirs.param_groups:
            group["lr"] *= faster


@given(sizes(1, 20), sizes(1, 20), hyperparameters(), seeds)
def test_every_shape_moves_alike(muon, rows, columns, options, seed):
    """A gradient that points equally far in all directions it can."""
    gradient = turn(max(rows, columns), seed)[:rows, :columns]
    options |= {"weight_decay": 0.0}
    (moved,) = follow(muon.Muon(parameters([torch.zeros(rows, columns)]), **options), [[gradient]])
    length = moved.square().mean().sqrt().item()
    assert 0.68 * 0.2 * options["lr"] <= length <= 1.21 * 0.2 * options["lr"]


@given(tensors(sizes(), sizes()), hyperparameters(), sizes())
def test_decay_is_decoupled(muon, weight, options, steps):
    flat = [[torch.zeros_like(weight)]] * steps
    (moved,) = follow(muon.Muon(parameters([weight]), **options), flat)
    assert_close(moved, weight * (1 - options["lr"] * options["weight_decay"]) ** steps)


@given(runs(least=2), hyperparameters(), st.data())
def test_state_is_tensors(muon, run, options, data):
    weights, gradients = run
    half = data.draw(st.integers(1, len(gradients) - 1), "half")
    stopped = muon.Muon(parameters(weights), **options)
    resumed = muon.Muon(parameters(follow(stopped, gradients[:half])), **options)
    state = copy.deepcopy(stopped.state_dict())
    assert all(torch.is_tensor(v) for entry in state["state"].values() for v in entry.values())
    resumed.load_state_dict(state)
    whole = follow(torchs(parameters(weights), **options), gradients)
    assert_close(follow(resumed, gradients[half:]), whole)


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_blocks_go_to_muon(muon, bias, tied, frozen, decay):
    shape = GPTConfig(
        vocab_size=3, context_length=2, d_model=2, n_layers=2, n_heads=1, bias=bias, tied=tied
    )
    model = GPT(shape)
    model.blocks[0].feed_forward.up.weight.requires_grad_(not frozen)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = muon.parameter_groups(model, weight_decay=decay)
    for mine, side in zip([True, False], groups, strict=True):
        expected = {
            id(p): decay if p.ndim == 2 else 0.0
            for name, p in trained.items()
            if (name.startswith("blocks.") and p.ndim == 2) == mine
        }
        found = [(id(p), group["weight_decay"]) for group in side for p in group["params"]]
        assert sorted(found) == sorted(expected.items())


@given(
    st.sampled_from(
        [("lr", -0.1), ("momentum", -0.1), ("momentum", 1.0), ("weight_decay", -0.1)]
        + [(name, math.nan) for name in ("lr", "momentum", "weight_decay")]
    )
)
def test_rejects_hyperparameters(muon, wrong):
    name, value = wrong
    with rejects(name, value):
        muon.Muon([nn.Parameter(torch.zeros(1, 1))], **{name: value})


@given(st.lists(sizes(), max_size=4).filter(lambda shape: len(shape) != 2), st.booleans())
def test_rejects_what_is_no_matrix(muon, shape, grouped):
    wrong = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(shape))]
    with rejects("params", tuple(shape), "AdamW"):
        muon.Muon([{"params": wrong}] if grouped else wrong)


@given(tensors(sizes(), sizes()), st.integers(max_value=0))
def test_rejects_steps(muon, matrix, steps):
    with rejects("steps", steps):
        muon.orthogonalize(matrix, steps)
