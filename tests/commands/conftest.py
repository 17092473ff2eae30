"""What the commands print is judged on lines that are wide enough, unless a test says otherwise."""

import pytest

from gptspec import display


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(display.console, "_width", None)  # the environment decides, at each line
    monkeypatch.setenv("COLUMNS", "400")
