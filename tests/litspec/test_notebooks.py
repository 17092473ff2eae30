"""The pages of this book run as notebooks, cell after cell."""

import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from litspec.notebook import notebook
from litspec.pages import Project

PROJECT = Project.find(Path(__file__).parents[2])


@pytest.fixture
def shown(monkeypatch):
    """Stand in for IPython: what is shown is kept."""
    kept = []
    display = ModuleType("IPython.display")
    display.HTML, display.display = str, kept.append
    package = ModuleType("IPython")
    package.version_info = (9, 0)  # matplotlib asks
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("path", PROJECT.concepts)
def test_a_page_runs_as_a_notebook(path, shown, monkeypatch, tmp_path):
    made = nbformat.reads(notebook(PROJECT, path), as_version=4)
    nbformat.validate(made)
    main = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", main)  # what is pickled is found by its module
    monkeypatch.chdir(tmp_path)
    for cell in made.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path}:{cell.id}", "exec"), main.__dict__)
    assert bool(shown) == any("show(" in cell.source for cell in made.cells)
