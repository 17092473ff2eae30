"""The pages of this book run as notebooks, cell after cell, as a reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from litspec.notebook import notebook
from litspec.pages import Project

ROOT = Path(__file__).parents[2]
PROJECT = Project.find(ROOT)

IPYTHON = {  # stands in for the real one: what is shown must be HTML
    "__init__.py": "version_info = (9, 0)  # matplotlib asks\n",
    "display.py": """
        def HTML(html):
            assert html.lstrip().startswith("<"), html
            return html


        def display(shown):
            print("shown")
        """,
}


@pytest.mark.slow
@pytest.mark.parametrize("path", PROJECT.concepts)
def test_a_page_runs_as_a_notebook(path, tmp_path):
    made = nbformat.reads(notebook(PROJECT, path), as_version=4)
    nbformat.validate(made)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    for name, text in IPYTHON.items():
        file = tmp_path / "IPython" / name
        file.parent.mkdir(exist_ok=True)
        lines = text.strip("\n").splitlines()
        file.write_text("\n".join(line.removeprefix(" " * 8) for line in lines) + "\n")
    (tmp_path / "cells.py").write_text("\n\n".join(code) + "\n", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "cells.py"],
        check=False, cwd=tmp_path, env=environment,
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ("shown" in ran.stdout.splitlines()) == any("show(" in cell for cell in code)
