import copy
import math
from collections import Counter

import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from gptspec.gpt.model import GPT, GPTConfig
from strategies import keeps, rejects, sizes
from trainings import source

UNIT = torch.finfo(torch.bfloat16).eps / 2  # a rounding is off by this share at most
DEVICE = torch.get_default_device()
seeds = st.integers(0, 2**32)


def factors(rows, d_in, d_out, seed):
    draws = source(seed)
    made = [
        torch.randn(*size, generator=draws).float()
        for size in [(rows, d_in), (d_out, d_in), (rows, d_out)]
    ]
    return [*(part.requires_grad_() for part in made[:2]), made[2]]


def off(found, exact, most):
    """Whether a product differs from the exact one by three roundings of its terms at most."""
    bound = (1 + UNIT) ** 3 - 1 + 1e-5  # and those of float32, inside the sums
    return ((found.double() - exact).abs() > bound * most + 1e-30).any()


@example(300, 96, 288, 0, 1.0)
@given(sizes(1, 6), sizes(1, 6), sizes(1, 6), seeds, st.sampled_from([1.0, 1e-20, 1e15]))
def test_products_round_thrice(precision, rows, d_in, d_out, seed, scale):
    x, weight, above = factors(rows, d_in, d_out, seed)
    x = (x.detach() * scale).requires_grad_()
    with keeps(x, weight, above), precision.mixed("bfloat16", DEVICE):
        y = F.linear(x, weight)
        assert y.dtype == torch.bfloat16
        total = x + x  # no product
    assert torch.equal(total, 2 * x)
    to_x, to_weight = torch.autograd.grad(y, (x, weight), above.to(y.dtype))
    assert to_x.dtype == to_weight.dtype == torch.float32
    a, b, c = x.double(), weight.double(), above.double()
    assert not off(y, a @ b.mT, a.abs() @ b.abs().mT)
    assert not off(to_x, c @ b, c.abs() @ b.abs())
    assert not off(to_weight, c.mT @ a, c.abs().mT @ a.abs())
    assert (y.double() != a @ b.mT).any() or y.numel() < 9


@given(sizes(1, 6), seeds, st.booleans())
def test_float32_is_untouched(precision, size, seed, inside):
    """Nothing is rounded in float32, nor in float64, whatever a block around this one says."""
    x, weight, _ = factors(size, 9, 9, seed)
    wide = x.double()
    try:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=inside):
            with precision.mixed("float32", DEVICE):
                assert torch.equal(x @ weight, x.detach() @ weight.detach())
                assert (x @ weight).dtype == torch.float32
            assert torch.is_autocast_enabled(DEVICE.type) == inside
        with precision.mixed("bfloat16", str(DEVICE)):
            assert torch.equal(wide @ wide.mT, wide.detach() @ wide.detach().mT)
            assert (wide @ wide.mT).dtype == torch.float64
        assert not torch.is_autocast_enabled(DEVICE.type)
    finally:  # for the examples and laws that follow
        torch.set_autocast_enabled(DEVICE.type, False)


KINDS = st.fixed_dictionaries(
    {
        "positions": st.sampled_from(["learned", "rotary", "alibi"]),
        "norm": st.sampled_from(["layer", "rms"]),
        "feed_forward": st.sampled_from(["gelu", "swiglu"]),
        "bias": st.booleans(),
    }
)


def roundings(n_layers):
    """How many roundings follow one another from the ids to a gradient.

    A product has three: of its factors and of what it gives. In a block follow one another the
    projection to a query, its product with a key, the mix of values, the projections out, up and
    down, and the activation, one more: 6 products. Then the head's. Backward there are as many.
    """
    return 2 * (n_layers * (6 * 3 + 1) + 3)


def mean_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@settings(max_examples=15)
@given(KINDS, sizes(1, 3), seeds)
def test_gradients_within_a_bound(precision, kinds, n_layers, seed):
    shape = GPTConfig(
        vocab_size=40, context_length=16, d_model=32, n_layers=n_layers, n_heads=2, **kinds
    )
    torch.manual_seed(seed)
    model = GPT(shape).float()
    exact = copy.deepcopy(model).double()
    ids = torch.randint(40, (2, 17), generator=source(seed))
    with precision.mixed("bfloat16", DEVICE):
        loss = mean_loss(model(ids[:, :-1]), ids[:, 1:])
    loss.backward()
    oracle = mean_loss(exact(ids[:, :-1]), ids[:, 1:])
    oracle.backward()
    assert loss.dtype == torch.float32
    parameters = [*model.parameters()]
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in parameters)
    gaps = [p.grad.double() - q.grad for p, q in zip(parameters, exact.parameters(), strict=True)]
    lengths = [q.grad.norm() for q in exact.parameters()]
    share = torch.stack([gap.norm() for gap in gaps]).norm() / torch.stack(lengths).norm()
    assert 1e-4 < share <= roundings(n_layers) * UNIT
    assert abs(loss.item() - oracle.item()) <= roundings(n_layers) * UNIT


class Two(nn.Module):
    """Layers of several shapes, one of them several times, and what is no layer of products."""

    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in widths)
        self.norm = nn.LayerNorm(3)
        self.table = nn.Embedding(4, 3)


WIDTHS = st.lists(st.tuples(sizes(1, 4), sizes(1, 4)), min_size=1, max_size=5)


@example([(2, 2), (2, 2), (1, 3)], {(2, 2): (1.0, 1.2), (3, 1): (10.0, 1.0)}, 7)
@example([(2, 2)] * 9 + [(9, 9)], {(2, 2): (1.0, 1.3), (9, 9): (3.0, 1.0)}, None)
@given(
    WIDTHS,
    st.dictionaries(st.tuples(sizes(), sizes()), st.tuples(st.floats(0.1, 9), st.floats(0.1, 9))),
    st.none() | sizes(),
)
def test_chooses_the_faster(precision, widths, known, rows):
    """A clock that knows how long everything takes."""
    model, asked = Two(widths), []
    times = {
        tuple(m.weight.shape): known.get(tuple(m.weight.shape), (1.0, 0.5)) for m in model.layers
    }

    def seconds(shape, kind, *, rows, device):
        asked.append((shape, kind, rows))
        return times[shape][kind == "bfloat16"]

    options = {} if rows is None else {"rows": rows}
    with keeps(model):
        chosen = precision.choose(model, seconds=seconds, **options)
    expected = 256 if rows is None else rows
    assert {one[2] for one in asked} == {expected}
    assert len(set(asked)) == len(asked)
    shapes = Counter(tuple(m.weight.shape) for m in model.layers)
    order = sorted(shapes, key=math.prod)
    seen = list(dict.fromkeys(shape for shape, *_ in asked))
    assert [math.prod(shape) for shape in seen] == [
        math.prod(shape) for shape in order[: len(seen)]
    ]
    for end in range(1, len(seen)):  # there was no reason yet to stop
        plain, rounded = (sum(shapes[s] * times[s][side] for s in seen[:end]) for side in (0, 1))
        assert rounded <= 2 * plain
    plain, rounded = (sum(shapes[s] * times[s][side] for s in seen) for side in (0, 1))
    if len(seen) < len(shapes):
        assert rounded > 2 * plain
        assert chosen == "float32"
    else:
        assert chosen == ("bfloat16" if rounded * 1.1 < plain else "float32")


@settings(max_examples=3)
@given(sizes(1, 3))
def test_measures_and_leaves_alone(precision, rows):
    model = Two([(3, 3), (3, 5)])
    with keeps(model), torch.no_grad():
        try:
            chosen = precision.choose(model, rows=rows)
        except RuntimeError as error:
            raise AssertionError(f"can not be timed where gradients are off: {error}") from None
        assert chosen in ("float32", "bfloat16")
        for kind in ("float32", "bfloat16"):
            assert 0 < precision.measure((3, 5), kind, rows=rows, device=DEVICE) < 60
    with rejects("rows", 0):
        precision.choose(model, rows=0)


@given(st.sampled_from(["float16", "auto", "bf16", "", "Float32"]))
def test_rejects_other_types(precision, kind):
    with rejects("precision", kind), precision.mixed(kind, DEVICE):
        pass
