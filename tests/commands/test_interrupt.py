"""Ctrl-C at any moment loses nothing, and two trainings do not meet in one folder."""

import json
import os
import signal
import subprocess
import sys

import pytest

from gptspec import session
from gptspec.training import checkpoint, loop
from terminal import SMALL, refused

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals of POSIX")


def result(folder):
    """All that a training came to."""
    weights = (checkpoint.latest(folder) / "model.safetensors").read_bytes()
    moments = (checkpoint.latest(folder) / "moments.safetensors").read_bytes()
    return weights, moments, json.loads((folder / "history.json").read_text())


def interrupts(monkeypatch, place, name, *, times=1, when=lambda *_: True):
    """Ctrl-C, once or more, when a function is called."""
    usual, done = getattr(place, name), []

    def interrupted(*arguments, **named):
        if not done and when(*arguments):
            done.append(True)
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return usual(*arguments, **named)

    monkeypatch.setattr(place, name, interrupted)


def at(step):
    return lambda run, *_: run.step == step


CASES = {
    "inside step 0": ("loop", "_advance", 1, at(0), "stopped at step 1;"),
    "inside step 4": ("loop", "_advance", 1, at(4), "stopped at step 5;"),
    "inside the last step": ("loop", "_advance", 1, at(5), None),
    "before the first step": ("session", "parameter_count", 1, None, "saved up to step 0;"),
    "twice inside step 4": ("loop", "_advance", 2, at(4), "saved up to step 3;"),
    "while it evaluates": ("loop", "evaluate", 1, None, "stopped at step 3;"),
    "twice while it evaluates": ("loop", "evaluate", 2, None, "saved up to step 0;"),
    "in the comparison": ("session", "score", 1, None, "saved up to step 6;"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_goes_on_to_the_same_end(
    gptspec, trained, text, tmp_path, monkeypatch, case
):
    place, name, times, when, words = CASES[case]
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        module = {"loop": loop, "session": session}[place]
        interrupts(patch, module, name, times=times, when=when or (lambda *_: True))
        code, out, error = gptspec("train", text, "--out", folder, *SMALL)
    assert not error
    if words is None:  # nothing was left to do
        assert code == 0
    else:
        assert code == 130
        [line] = [line for line in out.splitlines() if "go on with" in line]
        assert words in line
        assert line.endswith(f"go on with: gptspec train --resume --out {folder}")
        code, _, error = gptspec("train", "--resume", "--out", folder)
        assert code == 0, error
    assert result(folder) == result(trained[0])


def test_interrupted_before_anything_is_saved_it_leaves_nothing(
    gptspec, text, tmp_path, monkeypatch
):
    interrupts(monkeypatch, session.bpe, "train")
    code, _, error = gptspec("train", text, "--out", tmp_path / "run", *SMALL)
    assert code == 130
    assert error.strip() == "gptspec: stopped"
    assert not (tmp_path / "run").exists()


LOADING = """
import runpy, signal, sys
where = sys.argv.pop(1)
def interrupt(event, told):
    if event == "import" and told[0] == where:
        signal.raise_signal(signal.SIGINT)

sys.addaudithook(interrupt)
sys.argv[0] = "gptspec"
runpy.run_module("gptspec", run_name="__main__")
"""


@POSIX
@pytest.mark.parametrize("module", ["tyro", "torch", "torch.nn", "gptspec.gpt.model"])
def test_interrupted_while_it_loads_it_says_one_line(tmp_path, module):
    done = subprocess.run(
        [sys.executable, "-c", LOADING, module, "train", "stories", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.strip() == "gptspec: stopped before anything was begun"
    assert not (tmp_path / "run").exists()


HOLDS = """
import sys
from pathlib import Path
from gptspec.session import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_trainings_do_not_meet(gptspec, trained, text):
    folder, _ = trained
    files = [file for file in folder.rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        for words in ([text, *SMALL, "--fresh"], [text, *SMALL], ["--resume"]):
            refused(gptspec("train", "--out", folder, *words), f"process {other.pid}", str(folder))
        assert {file: file.read_bytes() for file in before} == before
        other.kill()  # the lock goes with its holder
    code, _, error = gptspec("train", "--resume", "--out", folder)
    assert code == 0, error
    assert not (folder / ".lock.owner").exists()


def test_a_lock_for_nothing_leaves_no_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    with session.lock(folder):
        assert folder.is_dir()
    assert not (tmp_path / "a").exists()
    with session.lock(folder):
        (folder / "file").touch()
    assert (folder / "file").exists()


def test_a_broken_off_beginning_is_named_as_that(gptspec, trained, text):
    """Killed between the tokenizer and the first checkpoint."""
    folder, _ = trained
    checkpoint.discard(folder)
    refused(gptspec("train", text, "--out", folder, *SMALL), "--fresh")
    refused(gptspec("train", "--resume", "--out", folder), "no training to resume")
    code, _, error = gptspec("train", text, "--out", folder, *SMALL, "--fresh")
    assert code == 0, error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"kind": "history", "format": 1}', "no history"),
        ('{"kind": "history", "format": 1, "losses": [1.0], "validation": {}}', "ends before step"),
        ('{"kind": "history", "format": 1, "losses": 3, "validation": {}}', "no history"),
        ("{", "history.json"),
    ],
)
def test_a_damaged_history_is_one_line(gptspec, trained, content, words):
    (trained[0] / "history.json").write_text(content)
    refused(gptspec("train", "--resume", "--out", trained[0]), "history.json", words)
