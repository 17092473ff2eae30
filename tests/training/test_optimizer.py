import copy
import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from strategies import (
    HALVES,
    assert_close,
    assert_rounded,
    assert_same_on_views,
    half_and_exact,
    in_float64,
    keeps,
    rejects,
    sizes,
    tensors,
)


@st.composite
def hyperparameters(draw):
    return {
        "lr": draw(st.sampled_from([1.0, 0.1, 3e-4, 0.0])),
        "betas": (draw(st.floats(0, 0.99)), draw(st.floats(0, 0.999))),
        "eps": draw(st.sampled_from([1e-8, 1e-3, 1.0])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1, 0.5])),
    }


SHAPES = [(2, 2), (2,), (), (1, 2, 1), (2, 1, 1, 1)]
NUMBERS = 4 + 2 + 1 + 2 + 2


def split(numbers):
    parts = numbers.split([torch.Size(shape).numel() for shape in SHAPES])
    return [part.view(shape) for part, shape in zip(parts, SHAPES, strict=True)]


@st.composite
def runs(draw, least=1):
    """Parameters of all numbers of axes, and a gradient or none for each at each step.

    The gradients may be as small as the default of epsilon, and one may be infinite or NaN.
    """
    weights, *slopes = draw(tensors(sizes(least + 1, 6), NUMBERS))
    scale = draw(st.sampled_from([1.0, 1e-8]))
    broken = draw(st.sampled_from([None, None, None, math.inf, math.nan]))
    if broken is not None:
        slopes[-1][draw(st.integers(0, NUMBERS - 1))] = broken
    count = len(slopes)
    rows = st.tuples(*[st.booleans()] * len(SHAPES))
    seen = draw(st.lists(rows, min_size=count, max_size=count))
    gradients = [
        [g * scale if there else None for g, there in zip(split(slope), row, strict=True)]
        for slope, row in zip(slopes, seen, strict=True)
    ]
    return split(weights), gradients


def parameters(weights):
    return [nn.Parameter(weight.clone()) for weight in weights]


def laid(weights, layout):
    """Parameters with a storage each, parts of one storage, or stored in another order."""
    if layout == "one storage":
        whole = torch.cat([weight.flatten() for weight in weights])
        parts = whole.split([weight.numel() for weight in weights])
        return [nn.Parameter(p.view_as(w)) for p, w in zip(parts, weights, strict=True)]
    if layout == "reversed":
        axes = [tuple(reversed(range(weight.ndim))) for weight in weights]
        stored = [w.permute(order).contiguous() for w, order in zip(weights, axes, strict=True)]
        return [nn.Parameter(w.permute(order)) for w, order in zip(stored, axes, strict=True)]
    return parameters(weights)


# Where sums come out near 0, those of 16 bits differ by the rounding of what was added.
CLOSE = {"rtol": 0.016, "atol": 0.3} if torch.get_default_dtype() == torch.bfloat16 else {}


LAYOUTS = st.sampled_from(["apart", "one storage", "reversed"])


def follow(optimizer, gradients):
    """Take a step for each list of gradients; return where the weights are then."""
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    for step in gradients:
        for p, gradient in zip(moved, step, strict=True):
            p.grad = gradient
        optimizer.step()
    return [p.detach().clone() for p in moved]


@given(runs(), hyperparameters(), st.none() | hyperparameters(), st.floats(0, 2), LAYOUTS)
def test_equals_torch(optimizer, run, options, others, faster, layout):
    weights, gradients = run

    def made(kind, layout):
        first, *rest = laid(weights, layout)
        groups = [{"params": iter([first]), **options}, {"params": iter(rest)}]
        return kind(iter(groups), **(others or {}))

    ours, theirs = made(optimizer.AdamW, layout), made(torch.optim.AdamW, "apart")
    for step in gradients:
        assert_close(follow(ours, [step]), follow(theirs, [step]), equal_nan=True, **CLOSE)
        for group in ours.param_groups + theirs.param_groups:
            group["lr"] *= faster


def count(optimizer, steps):
    """Say that the optimizer has taken so many steps before."""
    state = copy.deepcopy(optimizer.state_dict())
    for entry in state["state"].values():
        entry["step"] += steps
    optimizer.load_state_dict(state)


LATE = st.sampled_from([0, 1, 2_100, 40_000, 70_000])


def assert_formula(optimizer, kind, numbers, options, before):
    """Both round: each of a dozen operations, by half a unit in the last place."""
    weight, gradient, mean, square = numbers
    square = square.square()
    mover = kind(parameters([weight]), **options)
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    (moved,) = mover.param_groups[0]["params"]
    kept = {"step": torch.tensor(float(before)), "exp_avg": mean, "exp_avg_sq": square}
    mover.load_state_dict({**mover.state_dict(), "state": {0: copy.deepcopy(kept)}})
    moved.grad = gradient
    mover.step()
    with keeps(weight, gradient, mean, square):
        formula = optimizer.adamw(
            weight, gradient, mean, square, before + 1, **{**defaults, **options}
        )
    state = mover.state[moved]
    kernel = moved.detach(), state["exp_avg"], state["exp_avg_sq"]
    step = (weight - formula[0]).abs()
    largest = [weight.abs() + step, mean.abs() + gradient.abs(), formula[2]]
    for one, other, size in zip(kernel, formula, largest, strict=True):
        bound = 12 * torch.finfo(size.dtype).eps * size
        assert one.shape == other.shape
        assert ((one - other).abs() <= bound).all()


@example(torch.linspace(-3, 3, 4 * 2).view(4, -1), {"betas": (0.9999, 0.99999)}, 70_000)
@given(tensors(4, sizes()), hyperparameters(), LATE)
def test_formula_is_torchs(optimizer, numbers, options, before):
    assert_formula(optimizer, torch.optim.AdamW, numbers, options, before)


@example(torch.linspace(-3, 3, 4 * 70_000).view(4, -1), {}, 2_100)
@example(torch.linspace(-3, 3, 4 * 2).view(4, -1), {"betas": (0.9999, 0.99999)}, 70_000)
@given(tensors(4, sizes()), hyperparameters(), LATE)
def test_kernel_is_the_formula(optimizer, numbers, options, before):
    assert_formula(optimizer, optimizer.AdamW, numbers, options, before)


@given(tensors(2, sizes()), hyperparameters())
def test_first_step_is_the_rate(optimizer, weight_and_gradient, options):
    """Allowing for six roundings: of the averages, the root, two quotients and the sum."""
    weight, gradient = weight_and_gradient
    options |= {"eps": 1e-25, "weight_decay": 0.0}
    (moved,) = follow(optimizer.AdamW(parameters([weight]), **options), [[gradient]])
    expected = weight - options["lr"] * gradient.sign()
    bound = 6 * torch.finfo(weight.dtype).eps * (weight.abs() + options["lr"])
    assert ((moved - expected).abs() <= bound).all()


@given(runs(), hyperparameters(), st.sampled_from([2.0**-13, 4.0, 2.0**13]))
def test_gradient_scale_cancels(optimizer, run, options, scale):
    """With eps out of the way, and squares that are remembered for more than one step.

    By a power of two nothing is rounded.
    """
    weights, gradients = run
    options |= {"eps": 1e-20, "betas": (options["betas"][0], 0.9)}
    scaled = [[g if g is None else g * scale for g in step] for step in gradients]
    plain = follow(optimizer.AdamW(parameters(weights), **options), gradients)
    moved = follow(optimizer.AdamW(parameters(weights), **options), scaled)
    assert_close(moved, plain, equal_nan=True)


def longest(betas, steps):
    """Return the bound on the last of some moves, in learning rates, and gradients that reach it.

    By Cauchy and Schwarz: the mean is a sum with weights (1 - b1) b1^k, the square one with
    (1 - b2) b2^k. A move is longest where gradients grow by b2 / b1 at each step.
    """
    (b1, b2), past = betas, range(steps)
    reach = sum((b1**2 / b2) ** k for k in past) * (1 - b1) ** 2 / (1 - b2)
    bound = math.sqrt(reach * (1 - b2**steps)) / (1 - b1**steps)
    return bound, [max((b1 / b2) ** k, 1e-15) for k in reversed(past)]


@example((0.9, 0.999), torch.zeros(2_100))
@given(st.tuples(st.floats(0.1, 0.9), st.floats(0.9, 0.999)), tensors(sizes(1, 20)))
def test_step_is_bounded(optimizer, betas, slopes):
    """One weight with any gradients, and one with the worst."""
    bound, worst = longest(betas, len(slopes))
    gradients = torch.stack([slopes, torch.tensor(worst)], dim=-1)
    mover = optimizer.AdamW(
        parameters([torch.zeros(2)]), lr=1.0, betas=betas, eps=1e-25, weight_decay=0.0
    )
    (before,) = follow(mover, [[g] for g in gradients[:-1]])
    (after,) = follow(mover, [[gradients[-1]]])
    moves = (after - before).abs()
    fuzz = 50 * torch.finfo(slopes.dtype).eps * (1 + before.abs().max())
    assert (moves <= bound * (1 + fuzz) + fuzz).all()
    assert moves[1] >= bound * (1 - fuzz - 1e-6) - fuzz


@given(tensors(sizes()), hyperparameters(), sizes())
def test_decay_is_decoupled(optimizer, weight, options, steps):
    flat = [[torch.zeros_like(weight)]] * steps
    (moved,) = follow(optimizer.AdamW(parameters([weight]), **options), flat)
    assert_close(moved, weight * (1 - options["lr"] * options["weight_decay"]) ** steps)


@given(runs(), hyperparameters())
def test_each_weight_alone(optimizer, run, options):
    """All numbers together, and each in an optimizer of its own, one after the other."""
    weights, gradients = run
    together = follow(optimizer.AdamW(parameters(weights), **options), gradients)
    alone = [parameters(weight.flatten()) for weight in weights]
    movers = [[optimizer.AdamW([p], **options) for p in numbers] for numbers in alone]
    for step in gradients:
        for kept, gradient in zip(movers, step, strict=True):
            for place, mover in enumerate(kept):
                follow(mover, [[None if gradient is None else gradient.flatten()[place]]])
    for whole, numbers in zip(together, alone, strict=True):
        assert_close(whole, torch.stack(numbers).detach().view_as(whole), equal_nan=True)


@given(tensors(2, sizes(), sizes()), hyperparameters(), st.booleans())
def test_gradients_are_only_read(optimizer, weight_and_gradient, options, expanded):
    weight, gradient = weight_and_gradient
    if expanded:
        gradient = gradient[:1].expand_as(weight)

    def moved(gradient):
        with keeps(gradient):
            (found,) = follow(optimizer.AdamW(parameters([weight]), **options), [[gradient]] * 3)
        return found

    def whole(gradient):
        try:
            return moved(gradient)
        except RuntimeError as error:  # what is expanded can not be written to
            problem = str(error)
        raise AssertionError(problem)

    assert_same_on_views(moved, gradient)
    assert_close(whole(gradient), moved(gradient.clone()))


@given(tensors(2, sizes()), hyperparameters())
def test_closure_comes_first(optimizer, weight_and_gradient, options):
    weight, gradient = weight_and_gradient
    (moved,) = parameters([weight])
    mover = optimizer.AdamW([moved], **options)
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
    assert mover.step() is None
    plain = follow(optimizer.AdamW(parameters([weight]), **options), [[gradient]] * 2)
    assert_close([moved.detach()], plain)


@example(torch.linspace(-4, 4, 400).view(4, 100), torch.bfloat16, {}, 0)
@example(torch.linspace(-4, 4, 400).view(4, 100), torch.bfloat16, {}, 2_100)
@given(tensors(4, sizes()), st.sampled_from(HALVES), hyperparameters(), st.sampled_from([0, 9]))
def test_half_precision_rounds(optimizer, numbers, dtype, options, before):
    """Ten roundings: of each average two, a root, three quotients and sums, the weight's two."""
    weight, gradient, mean, square = numbers
    gradient = gradient + gradient.sign() + (gradient == 0)  # squares of tiny ones are 0 in float16
    if dtype == torch.float16:
        options = {**options, "eps": max(options["eps"], 1e-3)}  # and so is 1e-8
    kept = [mean, square.square() + 1] if before else [mean * 0, square * 0]
    half, exact = half_and_exact(dtype, weight, gradient, *kept)
    moved = []
    for start, slope, first, second in (half, exact):
        mover = optimizer.AdamW(parameters([start]), **options)
        kept = {"step": torch.tensor(float(before)), "exp_avg": first, "exp_avg_sq": second}
        mover.load_state_dict({**mover.state_dict(), "state": {0: kept} if before else {}})
        moved += follow(mover, [[slope]])
    assert moved[0].dtype == dtype
    lr, (beta1, _) = options.get("lr", 1e-3), options.get("betas", (0.9, 0.999))
    means = max(exact[1].abs().max().item(), exact[2].abs().max().item())
    largest = exact[0].abs().max().item() + moved[1].abs().max().item()
    largest += lr * means / (1 - beta1 ** (before + 1))
    assert_rounded(*moved, roundings=10, largest=largest)


class Tied(nn.Module):
    """An embedding, a norm, kernels, a number, and a head that is the embedding again."""

    def __init__(self, vocab_size, d_model, bias):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.middle = nn.Linear(d_model, d_model, bias=bias)
        self.line = nn.Conv1d(d_model, 2, 3, bias=bias)
        self.image = nn.Conv2d(1, d_model, 2, bias=bias)
        self.temperature = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(d_model, vocab_size, bias=bias)
        self.head.weight = self.tokens.weight


@given(sizes(), sizes(), st.booleans(), st.booleans())
def test_groups_hold_each_once(optimizer, vocab_size, d_model, bias, frozen):
    model = Tied(vocab_size, d_model, bias)
    model.middle.weight.requires_grad_(not frozen)
    with keeps(model):
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


@given(
    runs(least=2), hyperparameters(), st.sampled_from(["leave", "arrive", "stay"]), LATE, st.data()
)
def test_state_is_torchs(optimizer, run, options, way, late, data):
    weights, gradients = run
    half = data.draw(st.integers(1, len(gradients) - 1), "half")
    before = torch.optim.AdamW if way == "arrive" else optimizer.AdamW
    after = torch.optim.AdamW if way == "leave" else optimizer.AdamW
    stopped = before(parameters(weights), **options)
    resumed = after(parameters(follow(stopped, gradients[:half])), **options)
    whole = torch.optim.AdamW(parameters(weights), **options)
    follow(whole, gradients[:half])
    for one in (stopped, whole):
        count(one, late)
    state = copy.deepcopy(stopped.state_dict())
    assert all(torch.is_tensor(v) for entry in state["state"].values() for v in entry.values())
    resumed.load_state_dict(state)
    expected = follow(whole, gradients[half:])
    assert_close(follow(resumed, gradients[half:]), expected, equal_nan=True, **CLOSE)


@st.composite
def slopes(draw):
    """Parameters of which all but the last have a gradient, in storages apart or in one."""
    made = parameters([torch.zeros(shape) for shape in SHAPES])
    gradients = draw(tensors(NUMBERS)) * draw(st.sampled_from([1.0, 1e-4, 1e4]))
    parts = laid(split(gradients), draw(LAYOUTS))
    for p, gradient in zip(made[:-1], parts, strict=False):
        p.grad = gradient.detach()
    return made


def norm(tensors):
    numbers = [value for tensor in tensors for value in tensor.flatten().tolist()]
    return math.nan if any(map(math.isnan, numbers)) else math.hypot(*numbers)


def grads(parameters):
    return [p.grad.clone() for p in parameters if p.grad is not None]


LONGEST = st.sampled_from([1e-3, 0.5, 1.0, 10.0, math.inf])


@given(slopes(), LONGEST)
def test_clip_equals_torch(optimizer, ours, max_norm):
    theirs = copy.deepcopy(ours)
    for copied, p in zip(theirs, ours, strict=True):
        copied.grad = p.grad if p.grad is None else p.grad.clone()
    expected = nn.utils.clip_grad_norm_(theirs, max_norm)
    assert_close(optimizer.clip(iter(ours), max_norm).to(expected.dtype), expected)
    assert_close(grads(ours), grads(theirs))


def with_gradients(*gradients):
    made = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for p, gradient in zip(made, gradients, strict=True):
        p.grad = gradient
    return made


@example(with_gradients(torch.ones(300, 300), torch.ones(())), 1.0)
@example(with_gradients(torch.tensor([math.inf, 1.0]), torch.ones(2)), 1.0)
@example(with_gradients(torch.tensor([-math.inf, 1.0]), torch.ones(2)), math.inf)
@example(with_gradients(torch.ones(2), torch.tensor([math.nan, 1.0])), 1.0)
@given(slopes(), LONGEST)
def test_clip_bounds_the_norm(optimizer, parameters, max_norm):
    before = norm(grads(parameters))
    returned = float(optimizer.clip(parameters, max_norm))
    if not math.isfinite(before):
        assert returned == before or math.isnan(returned) == math.isnan(before) is True
        return
    assert_close(torch.tensor(returned), torch.tensor(before), **in_float64(rtol=1e-9))
    after, most = norm(grads(parameters)), min(max_norm, before)
    assert_close(torch.tensor(max(after, most)), torch.tensor(most), **in_float64(rtol=1e-12))


@given(st.sampled_from(HALVES), st.sampled_from([1.0, 100.0, 1000.0]), st.booleans())
def test_clip_lifts_half_precision(optimizer, dtype, size, mixed):
    """Ten thousand numbers: in 16 bits the sum of their squares is infinite, or stops at 256."""
    rough = torch.full((10_000,), size, dtype=dtype)
    made = with_gradients(rough, torch.zeros(2, dtype=torch.float32 if mixed else dtype))
    assert math.isclose(optimizer.clip(made, 1.0), 100 * size, rel_tol=1e-5)
    assert [p.grad.dtype for p in made] == [p.dtype for p in made]
    assert_rounded(made[0].grad, torch.full((10_000,), 0.01, dtype=torch.float64), roundings=2)


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
            ("betas", (0.9,)),
            ("eps", 0.0),
            ("eps", -1e-8),
            ("weight_decay", -0.1),
            *((name, math.nan) for name in ("lr", "eps", "weight_decay")),
            *((name, math.inf) for name in ("lr", "eps", "weight_decay")),
        ]
    ),
    st.booleans(),
)
def test_rejects_hyperparameters(optimizer, wrong, grouped):
    name, value = wrong
    params = parameters([torch.zeros(1)])
    with rejects(name, value):
        if grouped:
            optimizer.AdamW([{"params": params, name: value}])
        else:
            optimizer.AdamW(params, **{name: value})


@given(slopes(), st.floats(max_value=0) | st.just(math.nan))
def test_clip_rejects_max_norm(optimizer, parameters, max_norm):
    with rejects("max_norm", max_norm):
        optimizer.clip(parameters, max_norm)


@given(st.lists(sizes(), max_size=3))
def test_clip_rejects_missing_gradients(optimizer, shapes):
    with rejects("parameters", "backward"):
        optimizer.clip(parameters([torch.ones(size) for size in shapes]), 1.0)
