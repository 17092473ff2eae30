import copy
import math
from unittest.mock import patch

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from gptspec.gpt.model import GPT, GPTConfig
from strategies import (
    HALVES,
    LIFTED,
    assert_close,
    assert_same_on_views,
    half_and_exact,
    keeps,
    rejects,
    sizes,
    tensors,
    views,
)

matrices = tensors(sizes(), sizes(), batch=1)


def turn(size, seed):
    """Return a rotation, possibly mirrored."""
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    numbers = torch.randn(size, size, generator=source)
    return torch.linalg.qr(numbers.to(LIFTED)).Q.to(numbers.dtype)


seeds = st.integers(0, 2**32)


def wide(*shape):
    """A matrix with singular values of all sizes."""
    return torch.arange(torch.Size(shape).numel()).view(shape).sin().to(torch.get_default_dtype())


def allowed(matrix, steps, *, exact_sums=False):
    """Return how far rounding may take the result, as a norm of the difference.

    A round makes an error at most 3.4445 times as large, the polynomial's steepest slope, and adds
    40 roundings of what it works on, whose norm is 1 at first and at most 1.21 for each singular
    value later. A sum over an axis that is not taken in a wider type rounds with each term.
    """
    inner = 1 if exact_sums else max(matrix.shape[-2:])
    unit = torch.finfo(matrix.dtype).eps / 2
    off = 2 * inner * unit
    for done in range(steps):
        norm = 1.21 * math.sqrt(min(matrix.shape[-2:])) if done else 1
        off = 3.4445 * off + 40 * inner * unit * norm
    return off


def distance(one, other):
    if not one.numel():
        return 0
    return (one.to(LIFTED) - other.to(LIFTED)).square().sum((-2, -1)).sqrt().max().item()


@example(wide(3, 96, 288), 5)
@example(wide(300, 40), 5)
@given(matrices, sizes(1, 7))
def test_acts_on_singular_values(muon, matrix, steps):
    left, values, right = torch.linalg.svd(matrix.to(LIFTED), full_matrices=False)
    norm = values.square().sum(-1, keepdim=True).sqrt()
    values = values / norm.where(norm > 0, 1)
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = left * values[..., None, :] @ right
    with keeps(matrix):
        found = muon.orthogonalize(matrix, steps)
    assert found.shape == matrix.shape
    assert found.dtype == matrix.dtype
    assert distance(found, expected) <= allowed(matrix, steps)
    for view in views(matrix).values():
        assert distance(muon.orthogonalize(view, steps), expected) <= allowed(matrix, steps)


@example(wide(96, 96))
@given(matrices)
def test_singular_values_near_one(muon, matrix):
    before = torch.linalg.svdvals(matrix.to(LIFTED))
    share = before / matrix.to(LIFTED).flatten(-2).norm(dim=-1, keepdim=True)
    after = torch.linalg.svdvals(muon.orthogonalize(matrix).to(LIFTED))
    assert after.shape == before.shape
    off = allowed(matrix, 5)
    assert (after <= 1.21 + off).all()
    assert (after[share >= 1 / 500] >= 0.68 - off).all()


@given(tensors(sizes(), sizes()), seeds)
def test_turns_along(muon, matrix, seed):
    left, right = turn(matrix.shape[0], seed), turn(matrix.shape[1], seed + 1)
    plain = muon.orthogonalize(matrix)
    assert plain.shape == matrix.shape
    turned = left @ plain @ right
    off = 4 * allowed(matrix, 5)  # both sides, and two turns of what they begin with
    assert distance(muon.orthogonalize(left @ matrix @ right), turned) <= off
    assert distance(muon.orthogonalize(matrix.mT), plain.mT) <= off


@example(wide(64, 96), torch.bfloat16, 1, 1)
@given(matrices, st.sampled_from(HALVES), sizes(1, 3), st.sampled_from([1, 256]))
def test_half_precision_rounds(muon, matrix, dtype, steps, scale):
    """Kernels take a sum of products in float32, and round it once."""
    (half,), (exact,) = half_and_exact(dtype, matrix * scale)
    found = muon.orthogonalize(half, steps)
    assert found.dtype == dtype
    off = (found.double() - muon.orthogonalize(exact, steps)).square().sum((-2, -1)).sqrt()
    assert (off <= allowed(half, steps, exact_sums=True)).all()


@given(matrices, st.sampled_from([2.0**-19, 4.0, 2.0**20]), st.sampled_from([1, -1]))
def test_scale_changes_nothing(muon, matrix, scale, sign):
    assert_close(muon.orthogonalize(matrix * scale * sign), sign * muon.orthogonalize(matrix))


@given(tensors(sizes(1, 3), sizes(), sizes()))
def test_each_matrix_alone(muon, stack):
    alone = torch.stack([muon.orthogonalize(m) for m in stack])
    assert_close(muon.orthogonalize(stack), alone)
    stack[0] = math.inf
    assert_close(muon.orthogonalize(stack)[1:], alone[1:])


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
    scale = draw(st.sampled_from([1.0, 1.0, 1e-8]))
    count = len(slopes)
    seen = draw(st.lists(st.tuples(*[st.booleans()] * 4), min_size=count, max_size=count))
    gradients = [
        [g * scale if there else None for g, there in zip(split(slope), row, strict=True)]
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


@given(runs(), hyperparameters(), st.none() | hyperparameters(), st.floats(0, 2), st.booleans())
def test_equals_torch(muon, run, options, others, faster, turned):
    weights, gradients = run

    def made(kind, turned=False):
        first, *rest = parameters(weights)
        if turned:
            first = nn.Parameter(first.detach().mT.contiguous().mT)
        groups = [{"params": iter([first]), **options}, {"params": iter(rest)}]
        return kind(iter(groups), **({"weight_decay": 0.1} if others is None else others))

    def kind(groups, **others):
        return muon.Muon(groups, **others)

    ours, theirs = made(kind, turned), made(torchs)
    for step in gradients:
        assert_close(follow(ours, [step]), follow(theirs, [step]))
        for group in ours.param_groups + theirs.param_groups:
            group["lr"] *= faster


@given(tensors(2, sizes(), sizes()))
def test_defaults(muon, weight_and_gradient):
    """Rate 1e-3, momentum 0.95, decay 0.1."""
    weight, gradient = weight_and_gradient
    flat = torch.zeros_like(gradient)
    given_ = {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.1}
    several = [[gradient], [gradient.flip(0)], [flat], [-3 * gradient.flip(1)]]
    plain = follow(muon.Muon(parameters([weight])), several)
    assert_close(plain, follow(muon.Muon(parameters([weight]), **given_), several), rtol=0, atol=0)


@given(runs(), hyperparameters(), st.sampled_from([None, math.inf, math.nan]))
def test_each_weight_alone(muon, run, options, broken):
    """All matrices together, and each in an optimizer of its own, one after the other."""
    weights, gradients = run
    if broken is not None:
        gradients[-1][0] = torch.full((2, 2), broken)
    together = follow(muon.Muon(parameters(weights), **options), gradients)
    movers = [muon.Muon(parameters([weight]), **options) for weight in weights]
    for step in gradients:
        alone = [follow(m, [[g]])[0] for m, g in zip(movers, step, strict=True)]
    assert_close(together, alone, equal_nan=True)


@given(tensors(2, sizes(), sizes()), hyperparameters(), st.booleans())
def test_gradients_are_only_read(muon, weight_and_gradient, options, expanded):
    weight, gradient = weight_and_gradient
    if expanded:
        gradient = gradient[:1].expand_as(weight)

    def moved(gradient):
        with keeps(gradient):
            (found,) = follow(muon.Muon(parameters([weight]), **options), [[gradient]] * 2)
        return found

    def whole(gradient):
        try:
            return moved(gradient)
        except RuntimeError as error:  # what is expanded can not be written to
            problem = str(error)
        raise AssertionError(problem)

    assert_same_on_views(moved, gradient)
    assert_close(whole(gradient), moved(gradient.clone()))


@given(tensors(2, sizes(), sizes()), hyperparameters())
def test_closure_comes_first(muon, weight_and_gradient, options):
    weight, gradient = weight_and_gradient
    (moved,) = parameters([weight])
    mover = muon.Muon([moved], **options)
    losses = []

    def closure():
        assert torch.is_grad_enabled()
        mover.zero_grad()
        losses.append((moved * gradient).sum())
        losses[-1].backward()
        return losses[-1]

    with torch.no_grad():
        returned = mover.step(closure)
    assert len(losses) == 1
    assert returned is losses[0]
    plain = follow(muon.Muon(parameters([weight]), **options), [[gradient]])
    assert_close([moved.detach()], plain)


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
    whole = follow(muon.Muon(parameters(weights), **options), gradients)
    assert_close(follow(resumed, gradients[half:]), whole)


SHARED = st.sampled_from(["frozen", "shared", "kernels", None])
POSITIONS = st.sampled_from(["learned", "relative", "rotary"])


@given(st.booleans(), st.booleans(), POSITIONS, SHARED, st.sampled_from([0.0, 0.1]))
def test_blocks_go_to_muon(muon, bias, tied, positions, special, decay):
    """One of the matrices may be frozen, or shared by two layers; other layers have kernels."""
    shape = GPTConfig(
        vocab_size=3,
        context_length=2,
        d_model=2,
        n_layers=2,
        n_heads=1,
        bias=bias,
        tied=tied,
        positions=positions,
    )
    model = GPT(shape)
    first, second = model.blocks
    if special == "frozen":
        first.feed_forward.up.weight.requires_grad_(False)
    if special == "shared":
        second.feed_forward.up.weight = first.feed_forward.up.weight
    if special == "kernels":
        first.line, first.image = nn.Conv1d(1, 2, 2), nn.Conv2d(1, 2, 2)
        first.number = nn.Parameter(torch.ones(()))
    linear = {id(m.weight) for m in model.blocks.modules() if isinstance(m, nn.Linear)}
    with keeps(model):
        groups = muon.parameter_groups(model, weight_decay=decay)
    for mine, side in zip([True, False], groups, strict=True):
        expected = {
            id(p): decay if p.ndim >= 2 else 0.0
            for p in model.parameters()
            if p.requires_grad and (id(p) in linear) == mine
        }
        found = [(id(p), group["weight_decay"]) for group in side for p in group["params"]]
        assert sorted(found) == sorted(expected.items())


NO_NUMBERS = (math.nan, math.inf)


@given(
    st.sampled_from(
        [("lr", -0.1), ("momentum", -0.1), ("momentum", 1.0), ("weight_decay", -0.1)]
        + [(name, wrong) for name in ("lr", "momentum", "weight_decay") for wrong in NO_NUMBERS]
    ),
    st.booleans(),
)
def test_rejects_hyperparameters(muon, wrong, grouped):
    name, value = wrong
    params = parameters([torch.zeros(1, 1)])
    with rejects(name, value):
        if grouped:
            muon.Muon([{"params": params, name: value}])
        else:
            muon.Muon(params, **{name: value})


WAYS = st.sampled_from(["alone", "in a group", "later"])


@given(st.lists(sizes(), max_size=4).filter(lambda shape: len(shape) != 2), WAYS)
def test_rejects_what_is_no_matrix(muon, shape, way):
    right, wrong = parameters([torch.zeros(2, 2), torch.zeros(shape)])
    with rejects("params", tuple(shape), "AdamW"):
        if way == "later":
            muon.Muon([right]).add_param_group({"params": [wrong]})
        else:
            muon.Muon([right, wrong] if way == "alone" else [{"params": [right, wrong]}])


@given(tensors(sizes(), sizes()), st.integers(max_value=0))
def test_rejects_steps(muon, matrix, steps):
    with rejects("steps", steps):
        muon.orthogonalize(matrix, steps)
