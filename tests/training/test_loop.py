import copy
import json
import math
import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gptspec.gpt.model import GPT, GPTConfig
from gptspec.sampling.batches import Windows, batch
from gptspec.training.optimizer import parameter_groups
from gptspec.training.schedule import learning_rate
from strategies import LIFTED, assert_close, elsewhere, in_float64, rejects, sizes

VOCAB, CONTEXT = 5, 3
seeds = st.integers(0, 2**32)
optimizers = st.sampled_from(["adamw", "muon"])
# Where an example is a whole training: fewer of them, and no search for the smallest.
costly = settings(max_examples=12, phases=[Phase.explicit, Phase.generate])


def source(seed):
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def gpt(dropout=0.0, vocab_size=VOCAB):
    shape = GPTConfig(
        vocab_size=vocab_size, context_length=CONTEXT, d_model=4, n_layers=1, n_heads=2,
        dropout=dropout,
    )  # fmt: skip
    return GPT(shape)


@st.composite
def texts_to_learn(draw):
    tokens = torch.randint(VOCAB, [draw(sizes(20, 40))], generator=source(draw(seeds)))
    return Windows(tokens, CONTEXT, stride=draw(sizes(1, 3)))


@st.composite
def configs(draw, loop):
    """A training of a few steps."""
    batch_size = draw(sizes(1, 5))
    return loop.TrainConfig(
        steps=draw(sizes(2, 3)),
        batch_size=batch_size,
        accumulation=draw(sizes(1, batch_size)),
        optimizer=draw(optimizers),
        learning_rate=draw(st.floats(1e-3, 0.1)),
        warmup=draw(sizes(0, 1)),
        floor=draw(st.floats(0, 1e-3)),
        max_norm=draw(st.floats(0.01, 10)),
        seed=draw(st.integers(0, 1000)),
    )


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def state(run):
    """All that decides how a run goes on, as plain lists: equal only bit for bit."""
    moments = {
        f"{name}/{key}": value.tolist()
        for name, parameter in run.model.named_parameters()
        for optimizer in run.optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    tensors = {name: weight.tolist() for name, weight in weights(run.model).items()}
    return {"step": run.step, "config": run.config, **tensors, **moments}


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
    run = loop.Run(gpt(), data.draw(configs(loop), "config"))
    config, by_hand = run.config, copy.deepcopy(run.model)
    by_pytorch = torchs(by_hand, config)
    for step, record in enumerate(loop.train(run, windows)):
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
    again = loop.Run(copy.deepcopy(run.model), run.config)
    before = torch.get_rng_state()
    records = list(loop.train(run, windows))
    assert torch.equal(torch.get_rng_state(), before)
    for record, other in zip(records, loop.train(again, windows), strict=True):
        assert record == other
        torch.rand(1)  # the caller draws too
    assert state(run) == state(again)


@costly
@given(st.integers(0, 1000))
def test_steps_drop_differently(loop, seed):
    """The only batch again and again, and weights that stand still."""
    windows = Windows(torch.arange(13) % VOCAB, CONTEXT)
    config = loop.TrainConfig(steps=4, batch_size=4, learning_rate=1e-300, seed=seed)
    losses = {round(record.loss, 9) for record in loop.train(loop.Run(gpt(0.5), config), windows)}
    assert len(losses) == config.steps


@costly
@given(texts_to_learn(), st.data())
def test_resumed_is_uninterrupted(loop, windows, data):
    run = loop.Run(gpt(dropout=0.5), data.draw(configs(loop), "config"))
    stopped = loop.Run(copy.deepcopy(run.model), run.config)
    stop = data.draw(st.integers(0, run.config.steps), "stop")
    records = list(loop.train(run, windows))
    early = [record for _, record in zip(range(stop), loop.train(stopped, windows), strict=False)]
    with TemporaryDirectory() as folder, patch("os.fsync"):
        loop.save(Path(folder), stopped)
        resumed = loop.resume(Path(folder))
    assert state(resumed) == state(stopped)
    assert early + list(loop.train(resumed, windows)) == records
    assert state(resumed) == state(run)


class Killed(BaseException):
    """What a process feels that is killed."""


class Files:
    """Lets the n-th file operation fail: the disk is full, or the process is killed there."""

    OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")

    def __init__(self):
        self.left = None
        sys.addaudithook(lambda event, _: event in self.OPERATIONS and self.count())

    def count(self):
        if self.left is not None:
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self.killed):  # the dead do nothing more
                raise Killed if self.killed else OSError("No space left on device")

    def sync(self, file):
        try:
            self.count()
        except BaseException:
            os.truncate(file, os.fstat(file).st_size // 2)  # half was written
            raise

    @contextmanager
    def fail(self, operation, *, killed):
        self.left, self.killed = operation, killed
        try:
            with patch("os.fsync", self.sync):
                yield
        except (Killed, OSError, ValueError):
            pass
        finally:
            self.left = None


FILES = Files()
operations = st.integers(1, 30)  # a save takes 27


@contextmanager
def works():
    """The block must not fail: its error breaks the law."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise AssertionError(f"failed: {error}") from error


@cache
def rest_and_next(loop, optimizer="adamw"):
    """A run after one step, and the same run after two."""
    config = loop.TrainConfig(steps=2, batch_size=2, optimizer=optimizer)
    run = loop.Run(gpt(), config)
    steps = loop.train(run, Windows(torch.arange(10) % VOCAB, CONTEXT))
    next(steps)
    rest = copy.deepcopy(run)
    next(steps)
    return rest, run


@given(operations, st.booleans())
def test_a_failed_save_keeps_a_checkpoint(loop, operation, killed):
    old, new = rest_and_next(loop)
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)
        loop.save(folder, old)
        with FILES.fail(operation, killed=killed):
            loop.save(folder, new)
        with works():
            assert state(loop.resume(folder)) in [state(old), state(new)]


@settings(max_examples=20)
@given(st.lists(operations, max_size=4), st.booleans())
def test_failed_saves_do_not_pile_up(loop, failures, killed):
    _, run = rest_and_next(loop)
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)

        def n_files():
            return sum(file.is_file() for file in folder.rglob("*"))

        loop.save(folder, run)
        one = n_files()
        for operation in failures:
            with FILES.fail(operation, killed=killed):
                loop.save(folder, run)
            assert n_files() <= 2 * one
        with works():
            loop.save(folder, run)
        assert n_files() == one


@contextmanager
def checkpoints(loop, optimizer="adamw"):
    """A checkpoint, and its files."""
    with TemporaryDirectory() as name, patch("os.fsync"):
        loop.save(Path(name), rest_and_next(loop, optimizer)[0])
        yield Path(name), sorted(file for file in Path(name).rglob("*") if file.is_file())


@settings(max_examples=20)
@given(st.data(), optimizers)
def test_rejects_a_cut_checkpoint(loop, data, optimizer):
    with checkpoints(loop, optimizer) as (folder, written):
        file = data.draw(st.sampled_from(written), "file")
        size = data.draw(st.integers(0, file.stat().st_size - 2), "size")
        os.truncate(file, size)
        with rejects(file):
            loop.resume(folder)


@settings(max_examples=4)
@given(st.sampled_from([0, 1]))
def test_older_checkpoints_load(loop, step):
    """As they were before a configuration had a choice of optimizer."""
    run = (
        loop.Run(gpt(), loop.TrainConfig(steps=2, batch_size=2))
        if step == 0
        else rest_and_next(loop)[0]
    )
    with TemporaryDirectory() as name, patch("os.fsync"):
        loop.save(Path(name), run)
        (file,) = Path(name).rglob("training.json")
        content = json.loads(file.read_text())
        content["config"].pop("optimizer", None)
        file.write_text(json.dumps(content))
        with works():
            assert state(loop.resume(Path(name))) == state(run)


@given(optimizers, optimizers)
def test_moments_fit_the_optimizer(loop, saved, claimed):
    with checkpoints(loop, saved) as (folder, written):
        file, moments = (
            next(f for f in written if f.stem == stem) for stem in ("training", "moments")
        )
        content = json.loads(file.read_text())
        content["config"]["optimizer"] = claimed
        file.write_text(json.dumps(content))
        if saved == claimed:
            with works():
                loop.resume(folder)
        else:
            with rejects(moments):
                loop.resume(folder)


@settings(max_examples=20)
@given(st.data(), optimizers)
def test_rejects_a_foreign_checkpoint(loop, data, optimizer):
    with checkpoints(loop, optimizer) as (folder, written):
        file = data.draw(st.sampled_from(written), "file")
        if file.suffix == ".json":
            content = json.loads(file.read_text())
            keys = sorted(content) if file.name == "training.json" else ["format", "kind"]
            key = data.draw(st.sampled_from(keys), "key")
            content[key] = data.draw(st.sampled_from([None, "", 10**6, "a/b", {}]), "value")
            file.write_text(json.dumps(content))
        else:
            config = loop.TrainConfig(steps=1, batch_size=1, optimizer=optimizer)
            other = loop.Run(gpt(vocab_size=VOCAB + 1), config)
            list(loop.train(other, Windows(torch.arange(10) % VOCAB, CONTEXT)))
            with TemporaryDirectory() as apart:
                loop.save(Path(apart), other)
                next(Path(apart).rglob(file.name)).replace(file)
        with rejects(file):
            loop.resume(folder)


@settings(max_examples=4)
@given(optimizers)
def test_discards_checkpoints_only(loop, optimizer):
    with checkpoints(loop, optimizer) as (folder, _):
        (folder / "notes.txt").write_text("mine")
        (folder / "save-000009.partial").mkdir()
        loop.discard(folder)
        assert [file.name for file in folder.glob("*")] == ["notes.txt"]
        with rejects(folder):
            loop.latest(folder)


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
@given(texts_to_learn(), sizes(1, 6), st.booleans())
def test_evaluates_every_window_once(loop, windows, batch_size, training):
    model = gpt(dropout=0.5).train(training)
    nats = loop.evaluate(model, windows, batch_size)
    assert model.training == training
    inputs, targets = windows[torch.arange(len(windows))]
    expected = F.cross_entropy(model.eval()(inputs).flatten(0, 1), targets.flatten())
    assert_close(torch.tensor(nats), expected.detach(), **in_float64(rtol=1e-9))
    with rejects("batch_size", 0):
        loop.evaluate(model, windows, 0)


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


@settings(costly, max_examples=2)
@given(seeds)
def test_reaches_the_floor(loop, seed):
    """The mean of 10,000 surprises with a deviation of 0.575 nats errs by 0.006: 5 times that."""
    draws = source(seed)
    shape = GPTConfig(vocab_size=8, context_length=8, d_model=16, n_layers=1, n_heads=1)
    config = loop.TrainConfig(steps=120, batch_size=16, learning_rate=0.03, warmup=10, floor=1e-4)
    run = loop.Run(GPT(shape), config)
    list(loop.train(run, Windows(walk(30_000, draws), 8)))
    nats = loop.evaluate(run.model, Windows(walk(10_000, draws), 8), 500)
    entropy = 1.75 * math.log(2)
    assert entropy - 0.03 < nats < entropy + 0.06


@costly
@given(texts_to_learn(), st.sampled_from([math.nan, math.inf]), st.data())
def test_a_broken_gradient_stops(loop, windows, broken, data):
    run = loop.Run(gpt(dropout=0.5), data.draw(configs(loop), "config"))
    steps = loop.train(run, windows)
    next(steps)
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
    "seed": st.integers(max_value=-1),
}


@given(st.data())
def test_rejects_configurations(loop, data):
    for name, values in WRONG.items():
        value = data.draw(values, name)
        with rejects(name, value):
            loop.TrainConfig(**{"steps": 10, "batch_size": 4, name: value})
    edges = {"learning_rate": 0.1, "floor": 0.1, "weight_decay": 0.0, "betas": (0.0, 0.0)}
    assert loop.TrainConfig(steps=1, batch_size=1, **edges).floor == 0.1
