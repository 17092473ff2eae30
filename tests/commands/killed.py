"""Trainings that are stopped by signals at random moments, to be run as a program.

    python killed.py SIGNAL N_MOMENTS TEXT FOLDER OPTION...

Each training is a process of its own, forked from one that has loaded torch. Prints as JSON how
each of them ended, and the folders of the trainings that came to their end: the first of them was
never stopped.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # what a fork would load again, for seconds: Muon asks for it

from gptspec import cli, session

FILES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")


def child(words, log, at_operation, number):
    """Run the command line; kill itself at a file operation, if one is given."""
    left = [at_operation or 0]

    def count(event, arguments):
        if event in FILES and (
            event != "open" or "w" in str(arguments[1]) or "x" in str(arguments[1])
        ):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), number)

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["gptspec", *map(str, words)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(count)
    code = 1
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(words, log, number=None, *, after=None, at_operation=None):
    """Return how a training ended that gets a signal: its exit code, and what it said last."""
    process = os.fork()
    if not process:
        child(words, log, at_operation, number)
    if after is not None:
        time.sleep(after)
        os.kill(process, number)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    lines = log.read_text(errors="replace").splitlines()
    return code, next((line for line in reversed(lines) if line.strip()), "")


def main():
    name, moments, text, root, *options = sys.argv[1:]
    number, root, source = signal.Signals[name], Path(root), random.Random(7)
    torch.set_num_threads(1)
    log, ends, done = root / "log", [], []

    def begin(folder):
        return ["train", text, "--out", folder, "--fresh", *options]

    start = time.perf_counter()
    assert run(begin(root / "0"), log) == (0, log.read_text().splitlines()[-1])
    whole = time.perf_counter() - start
    done.append(str(root / "0"))
    while len(ends) < int(moments):
        folder, code = root / str(len(done)), None
        while code != 0:
            held = session.holds_checkpoint(folder)
            words = ["train", "--resume", "--out", folder] if held else begin(folder)
            if len(ends) == int(moments):
                how = {}
            elif source.random() < 0.5:
                how = {"at_operation": source.randint(1, 60)}
            else:
                how = {"after": 0.002 + source.random() * whole / 4}
            code, last = run(words, log, number, **how)
            if code:
                ends.append((code, last))
        done.append(str(folder))
    print(json.dumps({"ends": ends, "done": done, "seconds": whole}))


if __name__ == "__main__":
    main()
