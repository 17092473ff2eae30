"""The command line in the process of the tests."""

import shutil
import signal
import sys

import pytest
import torch

from gptspec import display
from gptspec.sampling.stories import stories
from strategies import single_precision
from terminal import SMALL, train


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard, in a suite that a shell started in the background too."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.fixture
def gptspec(monkeypatch, capfd):
    """Run the command line as a user has it; return exit code, output and errors."""
    from gptspec import cli, session

    monkeypatch.setattr(session, "device", torch.get_default_device)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gptspec", *map(str, arguments)])
        capfd.readouterr()
        usual = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert signal.getsignal(signal.SIGINT) is usual
        return end.value.code, *capfd.readouterr()

    with single_precision():
        yield run


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "stories.txt"
    file.write_text("\n".join(stories(60, seed=0)), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def once(text, tmp_path_factory):
    """A training by the command line, made once: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, train("train", text, "--out", folder, *SMALL)


@pytest.fixture
def trained(once, tmp_path):
    """The same training in a folder of the test's own."""
    folder, out = once
    return shutil.copytree(folder, tmp_path / "run"), out


@pytest.fixture(autouse=True, scope="module")
def wide():
    """Lines are wide enough for what is told, unless a test says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(display.console, "_width", None)  # the environment decides, at each line
        patch.setenv("COLUMNS", "400")
        yield
