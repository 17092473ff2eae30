import copy
import dataclasses
import math
import signal
import sys
from unittest.mock import patch

import torch
import torch.nn.functional as F
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gptspec.gpt.model import GPT, GPTConfig
from gptspec.sampling.batches import Windows, batch
from gptspec.training.optimizer import parameter_groups
from gptspec.training.schedule import learning_rate
from strategies import LIFTED, assert_close, elsewhere, in_float64, keeps, rejects, sizes
from trainings import (
    CONTEXT,
    VOCAB,
    configs,
    costly,
    gpt,
    optimizers,
    seeds,
    source,
    state,
    texts_to_learn,
    weights,
)


@settings(max_examples=20)
@given(st.data(), sizes(1, 6), sizes(1, 6))
def test_parts_are_one_batch(loop, data, batch_size, parts):
    """One token in two is ignored, so that the parts count differently."""
    draws = source(data.draw(seeds, "seed"))
    model = gpt()
    inputs = torch.randint(VOCAB, (batch_size, CONTEXT), generator=draws)
    targets = torch.randint(VOCAB, (batch_size, CONTEXT), generator=draws)
    ignored = torch.rand(targets.shape, generator=draws) < data.draw(st.sampled_from([0, 0.5]))
    ignored[:, 0] = False
    targets[ignored] = -100
    expected = F.cross_entropy(model(inputs).to(LIFTED).flatten(0, 1), targets.flatten())
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    for _ in range(2):  # the second call must not add to the first
        with keeps(inputs, targets):
            loss = loop.accumulate(model, inputs, targets, parts)
    assert_close(torch.tensor(loss, dtype=LIFTED), expected.detach(), **in_float64(atol=1e-9))
    assert_close([weight.grad for weight in model.parameters()], list(gradients))


@settings(max_examples=20)
@given(st.integers(0, 4), sizes(1, 4), seeds)
def test_parts_may_have_nothing_to_count(loop, place, more, seed):
    model, batch_size = gpt(), place + more
    inputs = torch.randint(VOCAB, (batch_size, CONTEXT), generator=source(seed))
    targets = torch.full_like(inputs, -100)
    targets[place] = inputs[place]
    expected = F.cross_entropy(model(inputs[place]).to(LIFTED), targets[place])
    try:
        loss = loop.accumulate(model, inputs, targets, batch_size)
    except ValueError as error:
        raise AssertionError(f"nothing to count in a part: {error}") from error
    assert_close(torch.tensor(loss, dtype=LIFTED), expected.detach())


def torchs(model, config):
    """PyTorch's optimizers for the same weights."""
    groups = parameter_groups(model, weight_decay=config.weight_decay)
    if config.optimizer == "adamw":
        return [torch.optim.AdamW(groups, betas=config.betas)]
    hidden = [p for p in model.blocks.parameters() if p.ndim == 2]
    for group in groups:
        group["params"] = [p for p in group["params"] if all(p is not other for other in hidden)]
    return [
        torch.optim.Muon(hidden, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=config.betas),
    ]


@costly
@given(texts_to_learn(), st.data())
def test_steps_are_as_by_hand(loop, windows, data):
    first = data.draw(st.sampled_from([0, 2_100, 70_000]), "first")
    config = data.draw(configs(loop, 6), "config")
    config = dataclasses.replace(config, steps=first + config.steps, precision="float32")
    run = loop.Run(gpt(), config)
    run.step = first
    by_hand = copy.deepcopy(run.model)
    by_pytorch = torchs(by_hand, config)
    for step, record in enumerate(loop.train(run, windows), first):
        rate = learning_rate(step, peak=config.learning_rate, warmup=config.warmup,
                             steps=config.steps, floor=config.floor)  # fmt: skip
        inputs, targets = batch(windows, step, batch_size=config.batch_size, seed=config.seed)
        loss = F.cross_entropy(by_hand(inputs).flatten(0, 1), targets.flatten())
        by_hand.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(by_hand.parameters(), config.max_norm)
        for optimizer in by_pytorch:
            for group in optimizer.param_groups:
                group["lr"] = rate
            # PyTorch's Muon rounds to bfloat16: not here.
            with patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
                optimizer.step()
        seen = [record.step, record.loss, record.learning_rate, record.norm]
        expected = [step + 1, loss.item(), rate, norm.item()]
        assert_close(torch.tensor(seen), torch.tensor(expected))
        assert_close(weights(run.model), weights(by_hand))
    assert run.step == config.steps


@costly
@given(texts_to_learn(), st.data())
def test_same_seed_same_weights(loop, windows, data):
    run = loop.Run(gpt(dropout=0.5), data.draw(configs(loop), "config"))
    again = loop.Run(copy.deepcopy(run.model).eval(), run.config)
    with keeps(windows.inputs, windows.targets):
        records = list(loop.train(run, windows))
    for record, other in zip(records, loop.train(again, windows), strict=True):
        assert record == other
        torch.rand(1)  # the caller draws too
    assert state(run) == state(again)


@costly
@given(st.integers(0, 1000))
def test_steps_drop_differently(loop, seed):
    """The only window again and again, and weights that stand still."""
    windows, model = Windows(torch.arange(1 + CONTEXT) % VOCAB, CONTEXT), gpt(0.5)
    losses = set()
    for other in range(seed, seed + 3):
        config = loop.TrainConfig(steps=4, batch_size=1, learning_rate=1e-300, seed=other)
        records = loop.train(loop.Run(copy.deepcopy(model), config), windows)
        losses |= {round(record.loss, 9) for record in records}
    assert len(losses) == 12


@costly
@given(texts_to_learn(), st.data())
def test_state_decides_the_rest(loop, windows, data):
    run = loop.Run(gpt(dropout=0.5), data.draw(configs(loop), "config"))
    stop = data.draw(st.integers(1, run.config.steps), "stop")
    steps = loop.train(run, windows)
    for _ in range(stop):
        next(steps)
    other = loop.Run(gpt(dropout=0.5), run.config)
    other.model.load_state_dict(run.model.state_dict())
    for optimizer, own in zip(other.optimizers, run.optimizers, strict=True):
        optimizer.load_state_dict(copy.deepcopy(own.state_dict()))
    other.step = run.step
    assert list(loop.train(other, windows)) == list(steps)
    assert state(other) == state(run)


class Products(TorchDispatchMode):
    """Notes in which types matrices are multiplied."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul"):
            self.types |= {x.dtype for x in args if isinstance(x, torch.Tensor) and x.ndim > 1}
        return func(*args, **(kwargs or {}))


def slopes(model):
    return torch.cat([p.grad.double().flatten() for p in model.parameters()])


@costly
@given(texts_to_learn(), optimizers, sizes(1, 4), st.booleans())
def test_every_product_is_mixed(loop, windows, optimizer, parts, bias):
    shape = GPTConfig(
        vocab_size=VOCAB, context_length=CONTEXT, d_model=8, n_layers=2, n_heads=2, bias=bias
    )
    model = GPT(shape).float()
    exact, inputs_and_targets = copy.deepcopy(model).double(), windows[torch.arange(4)]
    oracle = loop.accumulate(exact, *inputs_and_targets, 1)
    seen = {}
    for precision in ("float32", "bfloat16"):
        with Products() as products:
            loss = loop.accumulate(model, *inputs_and_targets, parts, precision=precision)
        bound = 2 * (19 * 2 + 3) * (2**-8 if precision == "bfloat16" else 2**-20)
        assert (slopes(model) - slopes(exact)).norm() <= bound * slopes(exact).norm()
        assert abs(loss - oracle) <= bound
        config = loop.TrainConfig(steps=2, batch_size=4, optimizer=optimizer, precision=precision)
        run = loop.Run(copy.deepcopy(model), config)
        with products:
            records = list(loop.train(run, windows))
        assert products.types == {getattr(torch, precision)}
        for p in run.model.parameters():
            assert p.dtype == p.grad.dtype == torch.float32
            states = [one.state[p].values() for one in run.optimizers if p in one.state]
            assert all(value.dtype == torch.float32 for state in states for value in state)
        seen[precision] = [record.loss for record in records]
    assert seen["float32"] != seen["bfloat16"]
    with keeps(model):
        run = loop.Run(model, loop.TrainConfig(steps=1, batch_size=1, precision="auto"))
    assert run.config.precision in ("float32", "bfloat16")


class Moments:
    """Raises SIGINT at one of the calls of Python functions, and of functions in C."""

    def __init__(self, moment):
        self.left = moment

    def __call__(self, frame, event, _):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def stepped(steps, moment):
    """Take a step, interrupted at a moment; return whether it was, and how many moments it had."""
    moments, usual = Moments(moment), signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.setprofile(moments)
    try:
        next(steps)
    except KeyboardInterrupt:
        return True, moment
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGINT, usual)
    return False, moment - moments.left


@settings(costly, max_examples=2)
@given(st.sampled_from(["adamw", "muon"]), st.integers(0, 10))
def test_interrupted_steps_are_whole(loop, optimizer, offset):
    windows = Windows(torch.arange(10) % VOCAB, CONTEXT)
    config = loop.TrainConfig(steps=2, batch_size=2, optimizer=optimizer)
    run = loop.Run(gpt(), config)
    next(loop.train(run, windows))
    before, after = copy.deepcopy(run), copy.deepcopy(run)
    _, n_moments = stepped(loop.train(after, windows), 10**9)
    assert after.step == 2
    states = [state(before), state(after)]
    n_interrupted = 0
    late = range(max(n_moments - 600, 1) + offset, n_moments, 29)  # where weights move
    for moment in [*range(1 + offset, n_moments - 600, 700), *late]:
        run = copy.deepcopy(before)
        n_interrupted += stepped(loop.train(run, windows), moment)[0]
        assert state(run) == states[run.step - 1]
    assert n_interrupted > 0


@costly
@given(texts_to_learn(), st.data())
def test_trains_where_the_model_is(loop, windows, data):
    config = data.draw(configs(loop), "config")
    model = gpt()
    run, other = loop.Run(copy.deepcopy(model), config), loop.Run(model, config)
    records = list(loop.train(run, windows))
    nats = loop.evaluate(run.model, windows, 4)
    with elsewhere():
        again = list(loop.train(other, windows))
        measured = loop.evaluate(other.model, windows, 4)
    assert (again, measured) == (records, nats)


@settings(max_examples=20)
@given(texts_to_learn(), sizes(1, 6), st.booleans(), seeds, st.sampled_from([0, 0.5, 0.9]))
def test_evaluates_every_window_once(loop, windows, batch_size, training, seed, share):
    """Some targets are ignored, and all of a window's perhaps."""
    model = gpt(dropout=0.5).train(training)
    windows.targets = windows.targets.clone()
    windows.targets[torch.rand(windows.targets.shape, generator=source(seed)) < share] = -100
    windows.targets[-1, -1] = 0
    loop.accumulate(model, *windows[torch.arange(1)], 1)  # gradients that are to stay
    with keeps(model, windows.inputs, windows.targets):
        try:
            nats = loop.evaluate(model, windows, batch_size)
        except ValueError as error:
            raise AssertionError(f"nothing to count in a batch: {error}") from error
    inputs, targets = windows[torch.arange(len(windows))]
    expected = F.cross_entropy(model.eval()(inputs).to(LIFTED).flatten(0, 1), targets.flatten())
    assert_close(torch.tensor(nats, dtype=LIFTED), expected.detach(), **in_float64(rtol=1e-9))
    with rejects("batch_size", 0):
        loop.evaluate(model, windows, 0)
    windows.targets.fill_(-100)
    with rejects("windows"):
        loop.evaluate(model, windows, batch_size)


def walk(n_tokens, draws):
    """A text from a source of 8 tokens whose entropy is known: 1.75 bits a token.

    Each token has four successors, with probabilities 1/2, 1/4, 1/8 and 1/8.
    """
    steps = torch.tensor([0.5, 0.25, 0.125, 0.125]).multinomial(n_tokens, True, generator=draws)
    token, tokens = 0, []
    for step in steps.tolist():
        token = (3 * token + [1, 2, 4, 7][step]) % 8
        tokens.append(token)
    return torch.tensor(tokens)


@settings(costly, phases=[Phase.explicit])
@example(0, "float32")
@example(1, "bfloat16")
@given(seeds, st.sampled_from(["float32", "bfloat16"]))
def test_reaches_the_floor(loop, seed, precision):
    """The mean of 10,000 surprises with a deviation of 0.575 nats errs by 0.006: 5 times that."""
    draws = source(seed)
    shape = GPTConfig(vocab_size=8, context_length=8, d_model=16, n_layers=1, n_heads=1)
    config = loop.TrainConfig(
        steps=120, batch_size=16, learning_rate=0.03, warmup=10, floor=1e-4, precision=precision
    )
    run = loop.Run(GPT(shape).float(), config)
    list(loop.train(run, Windows(walk(30_000, draws), 8)))
    nats = loop.evaluate(run.model, Windows(walk(10_000, draws), 8), 500)
    entropy = 1.75 * math.log(2)
    assert entropy - 0.03 < nats < entropy + 0.06


@costly
@given(texts_to_learn(), st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans(), st.data())
def test_a_broken_gradient_stops(loop, windows, broken, finite, data):
    """By a weight that breaks the loss too, or where the loss is finite."""
    run = loop.Run(gpt(dropout=0.5), data.draw(configs(loop), "config"))
    steps = loop.train(run, windows)
    next(steps)
    if finite:
        run.model.norm.weight.register_hook(lambda gradient: torch.full_like(gradient, broken))
    else:
        with torch.no_grad():
            run.model.norm.weight[0] = broken
    before = str(state(run))  # as text: NaN is not equal to itself
    stopped = ""
    try:
        next(steps)
    except FloatingPointError as error:
        stopped = str(error)
    assert "step 2" in stopped
    assert str(state(run)) == before


below = st.floats(max_value=-0.001)
WRONG = {
    "steps": st.integers(max_value=0),
    "batch_size": st.integers(max_value=0),
    "optimizer": st.sampled_from(["sgd", "Muon", ""]),
    "accumulation": st.integers(max_value=0) | st.integers(min_value=5),
    "learning_rate": st.just(0.0) | below | st.just(math.inf) | st.just(math.nan),
    "warmup": st.integers(max_value=-1) | st.integers(min_value=10),
    "floor": below | st.floats(min_value=0.1),
    "weight_decay": below | st.just(math.inf),
    "betas": st.sampled_from([(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9)]),
    "max_norm": st.just(0.0) | below,
    "precision": st.sampled_from(["float16", "bf16", ""]),
    "seed": st.integers(max_value=-1) | st.integers(min_value=2**63),
}


@given(st.data())
def test_rejects_configurations(loop, data):
    for name, values in WRONG.items():
        value = data.draw(values, name)
        with rejects(name, value):
            loop.TrainConfig(**{"steps": 10, "batch_size": 4, name: value})
    edges = {"learning_rate": 0.1, "floor": 0.1, "weight_decay": 0.0, "betas": (0.0, 0.0)}
    assert loop.TrainConfig(steps=1, batch_size=1, **edges).floor == 0.1


def test_defaults_are_gpt3s(loop):
    config = loop.TrainConfig(steps=1, batch_size=2)
    assert config == loop.TrainConfig(
        steps=1, batch_size=2, accumulation=1, optimizer="adamw", learning_rate=3e-3, warmup=0,
        floor=0.0, weight_decay=0.1, betas=(0.9, 0.95), max_norm=1.0, precision="float32", seed=0,
    )  # fmt: skip
