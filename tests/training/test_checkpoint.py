import copy
import dataclasses
import json
import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from disk import damaged, memory_for, on_disk
from gptspec.sampling.batches import Windows
from gptspec.training import checkpoint as checkpoints_of
from gptspec.training import loop
from strategies import keeps, rejects
from trainings import CONTEXT, VOCAB, configs, costly, gpt, optimizers, state, texts_to_learn


@costly
@given(texts_to_learn(), st.data())
def test_resumed_is_uninterrupted(checkpoint, windows, data):
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), "dtype")
    run = loop.Run(gpt(dropout=0.5).to(dtype), data.draw(configs(loop), "config"))
    stopped = loop.Run(copy.deepcopy(run.model), run.config)
    stop = data.draw(st.integers(0, run.config.steps), "stop")
    records = list(loop.train(run, windows))
    early = [record for _, record in zip(range(stop), loop.train(stopped, windows), strict=False)]
    with TemporaryDirectory() as folder, patch("os.fsync"):
        with keeps(stopped.model):
            checkpoint.save(Path(folder), stopped)
        resumed = checkpoint.resume(Path(folder))
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
def rest_and_next(optimizer="adamw"):
    """A run after one step, and the same run after two."""
    config = loop.TrainConfig(steps=2, batch_size=2, optimizer=optimizer)
    run = loop.Run(gpt(), config)
    steps = loop.train(run, Windows(torch.arange(10) % VOCAB, CONTEXT))
    next(steps)
    rest = copy.deepcopy(run)
    next(steps)
    return rest, run


@given(operations, st.booleans())
def test_a_failed_save_keeps_a_checkpoint(checkpoint, operation, killed):
    old, new = rest_and_next()
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)
        checkpoint.save(folder, old)
        with FILES.fail(operation, killed=killed):
            checkpoint.save(folder, new)
        with works():
            assert state(checkpoint.resume(folder)) in [state(old), state(new)]


@settings(max_examples=20)
@given(st.lists(operations, max_size=4), st.booleans())
def test_failed_saves_do_not_pile_up(checkpoint, failures, killed):
    _, run = rest_and_next()
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)

        def n_files():
            return sum(file.is_file() for file in folder.rglob("*"))

        checkpoint.save(folder, run)
        one = n_files()
        for operation in failures:
            with FILES.fail(operation, killed=killed):
                checkpoint.save(folder, run)
            assert n_files() <= 2 * one
        with works():
            checkpoint.save(folder, run)
        assert n_files() == one


@contextmanager
def checkpoints(checkpoint, optimizer="adamw"):
    """A checkpoint, and its files."""
    with TemporaryDirectory() as name, patch("os.fsync"):
        checkpoint.save(Path(name), rest_and_next(optimizer)[0])
        yield Path(name), sorted(file for file in Path(name).rglob("*") if file.is_file())


@settings(max_examples=20)
@given(st.data(), optimizers)
def test_rejects_a_cut_checkpoint(checkpoint, data, optimizer):
    with checkpoints(checkpoint, optimizer) as (folder, written):
        file = data.draw(st.sampled_from(written), "file")
        size = data.draw(st.integers(0, file.stat().st_size - 2), "size")
        os.truncate(file, size)
        with rejects(file):
            checkpoint.resume(folder)


@settings(max_examples=4)
@given(st.sampled_from([0, 1]))
def test_older_checkpoints_load(checkpoint, step):
    """As they were before a configuration had a choice of optimizer."""
    run = (
        loop.Run(gpt(), loop.TrainConfig(steps=2, batch_size=2))
        if step == 0
        else rest_and_next()[0]
    )
    with TemporaryDirectory() as name, patch("os.fsync"):
        checkpoint.save(Path(name), run)
        (file,) = Path(name).rglob("training.json")
        content = json.loads(file.read_text())
        content["config"].pop("optimizer", None)
        file.write_text(json.dumps(content))
        with works():
            assert state(checkpoint.resume(Path(name))) == state(run)


@given(optimizers, optimizers)
def test_moments_fit_the_optimizer(checkpoint, saved, claimed):
    with checkpoints(checkpoint, saved) as (folder, written):
        file, moments = (
            next(f for f in written if f.stem == stem) for stem in ("training", "moments")
        )
        content = json.loads(file.read_text())
        content["config"]["optimizer"] = claimed
        file.write_text(json.dumps(content))
        if saved == claimed:
            with works():
                checkpoint.resume(folder)
        else:
            with rejects(moments):
                checkpoint.resume(folder)


@settings(max_examples=20)
@given(st.data(), optimizers)
def test_rejects_a_foreign_checkpoint(checkpoint, data, optimizer):
    with checkpoints(checkpoint, optimizer) as (folder, written):
        file = data.draw(st.sampled_from(written), "file")
        if file.suffix == ".json":
            content = json.loads(file.read_text())
            keys = sorted(content) if file.name == "training.json" else ["format", "kind"]
            key = data.draw(st.sampled_from(keys), "key")
            content[key] = data.draw(st.sampled_from([None, "", 10**6, "a/b", {}]), "value")
            file.write_text(json.dumps(content))
        elif data.draw(st.booleans(), "whole numbers"):
            tensors = load_file(file)
            save_file({name: tensor.to(torch.int32) for name, tensor in tensors.items()}, file)
        else:
            config = loop.TrainConfig(steps=1, batch_size=1, optimizer=optimizer)
            other = loop.Run(gpt(vocab_size=VOCAB + 1), config)
            list(loop.train(other, Windows(torch.arange(10) % VOCAB, CONTEXT)))
            with TemporaryDirectory() as apart:
                checkpoint.save(Path(apart), other)
                next(Path(apart).rglob(file.name)).replace(file)
        with rejects(file):
            checkpoint.resume(folder)


@settings(max_examples=4)
@given(optimizers)
def test_discards_checkpoints_only(checkpoint, optimizer):
    with checkpoints(checkpoint, optimizer) as (folder, _):
        (folder / "notes.txt").write_text("mine")
        (folder / "save-000009.partial").mkdir()
        checkpoint.discard(folder)
        assert [file.name for file in folder.glob("*")] == ["notes.txt"]
        with rejects(folder):
            checkpoint.latest(folder)


@settings(max_examples=4)
@given(optimizers)
def test_late_steps_are_kept(checkpoint, optimizer):
    """As if 69,999 steps had been taken before: no number of 16 bits counts so far."""
    run = copy.deepcopy(rest_and_next(optimizer)[0])
    run.config = dataclasses.replace(run.config, steps=80_000)
    run.step = 70_000
    for one in run.optimizers:
        for moments in one.state.values():
            if "step" in moments:
                moments["step"].fill_(69_999)
    with TemporaryDirectory() as folder, patch("os.fsync"):
        checkpoint.save(Path(folder), run)
        assert state(checkpoint.resume(Path(folder))) == state(run)


def test_the_last_save_counts(checkpoint):
    run = copy.deepcopy(rest_and_next()[1])
    run.config = dataclasses.replace(run.config, steps=20)
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)
        for step in range(1, 13):
            run.step = step
            with works():
                checkpoint.save(folder, run)
                assert state(checkpoint.resume(folder)) == state(run)
            assert [file.parent for file in folder.rglob("*.json")] == 2 * [
                checkpoint.latest(folder)
            ]


@cache
def whole(optimizer):
    """The files of a checkpoint."""
    with checkpoints(checkpoints_of, optimizer) as (folder, written):
        return {str(file.relative_to(folder)): file.read_bytes() for file in written}


def attempt(checkpoint, optimizer, files):
    """What a folder holds is resumed as it is, or refused in one line that names it."""
    sound, message = state(rest_and_next(optimizer)[0]), None
    with on_disk(files) as folder:
        try:
            with memory_for(2**28):
                found = state(checkpoint.resume(folder))
        except ValueError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"failed with {type(error).__name__}: {error}") from error
    if message is None:
        assert found.keys() == sound.keys()
        assert type(found["step"]) is int
        del found["config"], sound["config"], found["step"], sound["step"]
        assert found == sound
    else:
        assert str(folder) in message
        assert "\n" not in message


@given(st.data(), optimizers)
def test_damage_is_refused_in_one_line(checkpoint, data, optimizer):
    attempt(checkpoint, optimizer, data.draw(damaged(whole(optimizer)), "files"))


@pytest.mark.slow
@settings(max_examples=10_000)
@given(st.data(), optimizers)
def test_ten_thousand_damaged_checkpoints(checkpoint, data, optimizer):
    attempt(checkpoint, optimizer, data.draw(damaged(whole(optimizer)), "files"))
