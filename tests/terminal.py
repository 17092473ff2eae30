"""The command line in a small training, and what it says when it refuses."""

import contextlib
import io
import sys

import pytest
import torch

from strategies import single_precision

SMALL = (
    *("--vocab-size", "300", "--context-length", "16", "--d-model", "8", "--n-layers", "1"),
    *("--n-heads", "2", "--steps", "6", "--batch-size", "2", "--warmup", "1"),
    *("--evaluate-every", "3", "--recipe", "gpt2", "--precision", "float32"),
)


def refused(result, *words):
    """The command line said one line that holds these words, and failed."""
    code, _, error = result
    lines = error.strip().splitlines()
    assert code not in (0, None)
    assert len(lines) == 1, error
    for raw in ("Errno", "Traceback", "Error("):
        assert raw not in error
    for word in words:
        assert word in lines[0]


def train(*words):
    """Run the command line outside a test's own capture, which must work; return its output."""
    from gptspec import cli, session

    out = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        single_precision(),
        contextlib.redirect_stdout(out),
    ):
        patch.setattr(session, "device", torch.get_default_device)
        patch.setattr(sys, "argv", ["gptspec", *map(str, words)])
        patch.setenv("COLUMNS", "400")
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    assert code == 0
    return out.getvalue()
