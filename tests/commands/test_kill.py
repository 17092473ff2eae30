"""A process that is really killed while it saves leaves a checkpoint that loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
