"""A process that is really stopped by a signal leaves a checkpoint that loads and goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gptspec.training import checkpoint
from terminal import SMALL

TRAINING = """
import os, random, signal, sys, time
from pathlib import Path

import torch

from gptspec.gpt.model import GPT, GPTConfig
from gptspec.sampling.batches import Windows
from gptspec.training.checkpoint import latest, resume, save
from gptspec.training.loop import Run, TrainConfig, train

torch.set_num_threads(1)
folder, source = Path(sys.argv[1]), random.Random(1)
shape = GPTConfig(vocab_size=3, context_length=2, d_model=64, n_layers=2, n_heads=1)
windows = Windows(torch.tensor([0, 1, 2, 0, 1, 2]), context_length=2)
save(folder, Run(GPT(shape), TrainConfig(steps=10_000, batch_size=1)))
for kill in range(10):
    child = os.fork()
    if not child:
        run = resume(folder)
        for _ in train(run, windows):
            save(folder, run)
    before = latest(folder)
    while latest(folder) == before:  # until it saves, however slow the machine is
        time.sleep(0.001)
    time.sleep(0.05 * source.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(resume(folder).step)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_killed_process_leaves_a_loadable_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = [int(line) for line in done.stdout.split()]
    assert len(steps) == 10
    assert steps == sorted(steps)
    assert steps[-1] > 0


# Muon for the blocks' matrices, and dropout: moments of two kinds, and chance.
MIXED = (*SMALL, "--optimizer", "muon", "--precision", "bfloat16")
OPTIONS = {"float32": SMALL, "mixed": MIXED}


def result(folder: Path) -> list[bytes]:
    """All that a training came to."""
    save = checkpoint.latest(folder)
    return [
        (folder / "history.json").read_bytes(),
        *(file.read_bytes() for file in sorted(save.iterdir())),
    ]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs fork and signals of POSIX")
@pytest.mark.parametrize("precision", sorted(OPTIONS))
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_stopped_at_twenty_moments_it_comes_to_the_same_end(
    text: Path, tmp_path: Path, name: str, precision: str
) -> None:
    options = (*OPTIONS[precision], "--steps", "40", "--evaluate-every", "5", "--dropout", "0.1")
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, script, name, "20", text, tmp_path, *options],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "400"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["ends"]) == 20
    first, *others = map(Path, told["done"])
    assert others
    for folder in others:
        assert result(folder) == result(first)
        left = [file.name for file in folder.rglob("*") if "partial" in file.name]
        assert not left
    for code, last in told["ends"]:
        if name == "SIGKILL":
            assert code == -signal.SIGKILL
        else:
            assert code == 130
            assert "go on with: " in last or last == "gptspec: stopped", last
