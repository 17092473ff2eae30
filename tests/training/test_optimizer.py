import copy
import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from strategies import assert_close, in_float64, rejects, sizes, tensors


@st.composite
def hyperparameters(draw):
    return {
        "lr": draw(st.sampled_from([1.0, 0.1, 3e-4, 0.0])),
        "betas": (draw(st.floats(0, 0.99)), draw(st.floats(0, 0.999))),
        "eps": draw(st.sampled_from([1e-8, 1e-3, 1.0])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1, 0.5])),
    }


SHAPES = [(2, 2), (2,), (1,)]


def split(numbers):
    return [part.view(shape) for part, shape in zip(numbers.split([4, 2, 1]), SHAPES, strict=True)]


@st.composite
def runs(draw, least=1):
    """Three parameters, and a gradient or none for each of them at each step."""
    weights, *slopes = draw(tensors(sizes(least + 1, 6), 7))
    count = len(slopes)
    seen = draw(st.lists(st.tuples(*[st.booleans()] * 3), min_size=count, max_size=count))
    gradients = [
        [gradient if there else None for gradient, there in zip(split(slope), row, strict=True)]
        for slope, row in zip(slopes, seen, strict=True)
    ]
    return split(weights), gradients


def parameters(weights):
    return [nn.Parameter(weight.clone()) for weight in weights]


def follow(optimizer, gradients):
    """Take a step for each list of gradients; return where the weights are then."""
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    for step in gradients:
        for p, gradient in zip(moved, step, strict=True):
            p.grad = gradient
        optimizer.step()
    return [p.detach().clone() for p in moved]


@given(runs(), hyperparameters(), hyperparameters() | st.just({}), st.floats(0, 2))
def test_equals_torch(optimizer, run, options, others, faster):
    weights, gradients = run

    def grouped():
        first, *rest = parameters(weights)
        return [{"params": [first], **options}, {"params": rest, **others}]

    ours, theirs = optimizer.AdamW(grouped()), torch.optim.AdamW(grouped())
    for step in gradients:
        assert_close(follow(ours, [step]), follow(theirs, [step]))
        for group in ours.param_groups + theirs.param_groups:
            group["lr"] *= faster


@given(tensors(2, sizes()), hyperparameters())
def test_first_step_is_the_rate(optimizer, weight_and_gradient, options):
    weight, gradient = weight_and_gradient
    options |= {"eps": 1e-15, "weight_decay": 0.0}
    (moved,) = follow(optimizer.AdamW(parameters([weight]), **options), [[gradient]])
    assert_close(moved, weight - options["lr"] * gradient.sign())


@given(runs(), hyperparameters(), st.sampled_from([1e-4, 3.0, 1e4]))
def test_gradient_scale_cancels(optimizer, run, options, scale):
    """With eps out of the way, and squares that are remembered for more than one step."""
    weights, gradients = run
    options |= {"eps": 1e-15, "betas": (options["betas"][0], 0.9)}
    scaled = [[g if g is None else g * scale for g in step] for step in gradients]
    plain = follow(optimizer.AdamW(parameters(weights), **options), gradients)
    assert_close(follow(optimizer.AdamW(parameters(weights), **options), scaled), plain)


@given(tensors(sizes()), hyperparameters(), sizes())
def test_decay_is_decoupled(optimizer, weight, options, steps):
    flat = [[torch.zeros_like(weight)]] * steps
    (moved,) = follow(optimizer.AdamW(parameters([weight]), **options), flat)
    assert_close(moved, weight * (1 - options["lr"] * options["weight_decay"]) ** steps)


class Tied(nn.Module):
    """An embedding, a norm and a head that is the embedding again."""

    def __init__(self, vocab_size, d_model, bias):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.middle = nn.Linear(d_model, d_model, bias=bias)
        self.head = nn.Linear(d_model, vocab_size, bias=bias)
        self.head.weight = self.tokens.weight


@given(sizes(), sizes(), st.booleans(), st.booleans())
def test_groups_hold_each_once(optimizer, vocab_size, d_model, bias, frozen):
    model = Tied(vocab_size, d_model, bias)
    model.middle.weight.requires_grad_(not frozen)
    groups = optimizer.parameter_groups(model, weight_decay=0.1)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@given(sizes(), sizes(), st.booleans(), st.sampled_from([0.5, 0.1]))
def test_only_matrices_decay(optimizer, vocab_size, d_model, bias, decay):
    model = Tied(vocab_size, d_model, bias)
    before = copy.deepcopy(model.state_dict())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.AdamW(optimizer.parameter_groups(model, weight_decay=decay), lr=1.0).step()
    for name, p in model.state_dict().items():
        assert_close(p, before[name] * (1 - decay if p.ndim > 1 else 1))


@given(runs(least=2), hyperparameters(), st.sampled_from(["leave", "arrive", "stay"]), st.data())
def test_state_is_torchs(optimizer, run, options, way, data):
    weights, gradients = run
    half = data.draw(st.integers(1, len(gradients) - 1), "half")
    before = torch.optim.AdamW if way == "arrive" else optimizer.AdamW
    after = torch.optim.AdamW if way == "leave" else optimizer.AdamW
    stopped = before(parameters(weights), **options)
    resumed = after(parameters(follow(stopped, gradients[:half])), **options)
    state = copy.deepcopy(stopped.state_dict())
    assert all(torch.is_tensor(v) for entry in state["state"].values() for v in entry.values())
    resumed.load_state_dict(state)
    whole = follow(torch.optim.AdamW(parameters(weights), **options), gradients)
    assert_close(follow(resumed, gradients[half:]), whole)


@st.composite
def slopes(draw):
    """Parameters of which all but the last have a gradient."""
    made = parameters([torch.zeros(shape) for shape in SHAPES])
    gradients = draw(tensors(7)) * draw(st.sampled_from([1.0, 1e-4, 1e4]))
    for p, gradient in zip(made[:-1], split(gradients), strict=False):
        p.grad = gradient
    return made


def norm(tensors):
    return math.hypot(*(value for tensor in tensors for value in tensor.flatten().tolist()))


def grads(parameters):
    return [p.grad.clone() for p in parameters if p.grad is not None]


LONGEST = st.sampled_from([1e-3, 0.5, 1.0, 10.0])


@given(slopes(), LONGEST)
def test_clip_equals_torch(optimizer, ours, max_norm):
    theirs = copy.deepcopy(ours)
    for copied, p in zip(theirs, ours, strict=True):
        copied.grad = p.grad if p.grad is None else p.grad.clone()
    expected = nn.utils.clip_grad_norm_(theirs, max_norm)
    assert_close(optimizer.clip(iter(ours), max_norm), expected)
    assert_close(grads(ours), grads(theirs))


@given(slopes(), LONGEST)
def test_clip_bounds_the_norm(optimizer, parameters, max_norm):
    before = norm(grads(parameters))
    returned = optimizer.clip(parameters, max_norm)
    assert_close(torch.tensor(float(returned)), torch.tensor(before), **in_float64(rtol=1e-9))
    after, most = norm(grads(parameters)), min(max_norm, before)
    assert_close(torch.tensor(max(after, most)), torch.tensor(most), **in_float64(rtol=1e-12))


@given(slopes(), LONGEST)
def test_clip_keeps_the_direction(optimizer, parameters, max_norm):
    before = grads(parameters)
    optimizer.clip(parameters, max_norm)
    after = grads(parameters)
    for old, new in zip(before, after, strict=True):
        assert_close(new * norm(before), old * norm(after))


@given(
    st.sampled_from(
        [
            ("lr", -0.1),
            ("betas", (-0.1, 0.9)),
            ("betas", (0.9, 1.0)),
            ("eps", 0.0),
            ("eps", -1e-8),
            ("weight_decay", -0.1),
            *((name, math.nan) for name in ("lr", "eps", "weight_decay")),
        ]
    )
)
def test_rejects_hyperparameters(optimizer, wrong):
    name, value = wrong
    with rejects(name, value):
        optimizer.AdamW([nn.Parameter(torch.zeros(1))], **{name: value})


@given(slopes(), st.floats(max_value=0) | st.just(math.nan))
def test_clip_rejects_max_norm(optimizer, parameters, max_norm):
    with rejects("max_norm", max_norm):
        optimizer.clip(parameters, max_norm)


@given(st.lists(sizes(), max_size=3))
def test_clip_rejects_missing_gradients(optimizer, shapes):
    with rejects("parameters", "backward"):
        optimizer.clip(parameters([torch.ones(size) for size in shapes]), 1.0)
