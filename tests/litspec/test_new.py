"""A new concept starts red, says what to do, and is green once its blanks are filled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from litspec.check import check
from litspec.cli import app, main
from litspec.new import new
from litspec.pages import Project

ROOT = Path(__file__).parents[2]

# A name that no reader chooses: the copy below may hold a reader's own talking_heads.
PAGE = """---
needs: multihead
---

# Heads that talk in a test

Heads exchange their weights before they read.

## Laws

/// law | heads_that_talk_in_a_test.keeps-its-shape
Mixing the heads keeps the shape of their weights.
///

## Mistakes

/// mistake | heads_that_talk_in_a_test.first-mistake
    caught-by: heads_that_talk_in_a_test.keeps-its-shape

```diff
-    return torch.einsum("gh,...hqk->...gqk", mix, weights)
+    return torch.einsum("gh,...hqk->...qgk", mix, weights)
```

Heads and queries change places, which only shows where their counts differ.
///

## Sources

- Shazeer et al. 2020, *Talking-Heads Attention*, section 3.
"""

MODULE = '''"""Talking heads: attention weights mixed across heads."""

import torch
from jaxtyping import Float
from torch import Tensor


def talk(
    weights: Float[Tensor, "*batch heads query_time key_time"], mix: Float[Tensor, "heads heads"]
) -> Float[Tensor, "*batch heads query_time key_time"]:
    """Return the weights, each head's a mix of all heads'."""
    return torch.einsum("gh,...hqk->...gqk", mix, weights)
'''

LAWS = """from hypothesis import given
from strategies import sizes, tensors


@given(tensors(sizes(), sizes(), sizes(), batch=1))
def test_keeps_its_shape(heads_that_talk_in_a_test, weights):
    mix = weights.new_ones(2 * weights.shape[-3:-2])
    assert heads_that_talk_in_a_test.talk(weights, mix).shape == weights.shape
"""


@pytest.fixture
def copy(tmp_path):
    """The repository as it stands, in another place."""
    for name in ("docs", "src", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("pyproject.toml", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    run.root = tmp_path
    return run


@pytest.mark.slow
def test_a_concept_starts_red_and_turns_green_in_this_repository(copy):
    files = {
        "docs/attention/heads_that_talk_in_a_test.md": PAGE,
        "src/gptspec/attention/heads_that_talk_in_a_test.py": MODULE,
        "tests/attention/test_heads_that_talk_in_a_test.py": LAWS,
    }
    suite = ("pytest", "-q", "tests/attention/test_heads_that_talk_in_a_test.py")
    written = copy("litspec", "new", "attention/heads_that_talk_in_a_test")
    assert written.returncode == 0, written.stderr
    assert all(f"wrote {file}" in written.stdout for file in files)

    red = copy("litspec", "check")
    assert red.returncode == 1
    assert all(f"{file}:" in red.stdout for file in files)
    assert copy(*suite).returncode == 1

    for file, text in files.items():
        (copy.root / file).write_text(text, encoding="utf-8")
    green = copy("litspec", "check")
    assert not any(f"{file}:" in green.stdout for file in files), green.stdout
    ran = copy(*suite)
    assert ran.returncode == 0, ran.stdout
    assert "1 laws hold, 1 mistakes caught" in ran.stdout


def test_a_page_joins_its_part_in_the_navigation(book):
    new(Project.find(book.root), "arithmetic/triple")
    assert Project.find(book.root).pages == [
        "index.md", "arithmetic/double.md", "arithmetic/triple.md",
    ]  # fmt: skip


def test_a_new_part_comes_last_and_is_a_package(book):
    new(Project.find(book.root), "geometry/area")
    assert Project.find(book.root).pages[-1] == "geometry/area.md"
    assert (book.root / "src/toy/geometry/__init__.py").exists()


@pytest.mark.parametrize("path", ["triple", "geometry/plane/area", "arithmetic/more/triple"])
def test_a_concept_may_have_one_part_or_three(book, path):
    written = new(Project.find(book.root), path)
    project = Project.find(book.root)
    assert [*project.concepts[path].files.values(), project.navigation] == written
    assert path in project.concepts
    assert f"{path}.md" in project.pages
    findings = check(project)
    assert findings
    assert {one.message[:12] for one in findings if one.file in written} == {"still to do:"} | {
        one.message[:12] for one in findings if "diff fits 0" in one.message
    }
    for part in (book.root / "src/toy" / path).parents:
        assert (part / "__init__.py").exists() == part.is_relative_to(book.root / "src/toy")
    pages = ["index.md", "arithmetic/double.md", f"{path}.md"]
    assert project.pages == pages


def test_a_navigation_in_another_style_is_kept(book):
    book.edit(
        "mkdocs.yml", "      - arithmetic/double.md", '    - "Twice": "arithmetic/double.md"  # 2'
    )
    new(Project.find(book.root), "arithmetic/triple")
    text = (book.root / "mkdocs.yml").read_text()
    assert "# 2\n    - arithmetic/triple.md\nplugins" in text
    (book.root / "mkdocs.yml").write_text("site_name: toy\n")
    with pytest.raises(ValueError, match=r"mkdocs.yml has no nav: write one first"):
        new(Project.find(book.root), "arithmetic/fourfold")
    assert not (book.root / "docs/arithmetic/fourfold.md").exists()


def test_every_blank_is_a_finding(book):
    new(Project.find(book.root), "arithmetic/triple")
    project = Project.find(book.root)
    concept = project.concepts["arithmetic/triple"]
    named = {
        (one.file, one.line) for one in check(project) if one.message.startswith("still to do")
    }
    for file in concept.files.values():
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            assert ("TODO" in line) == ((file, number) in named)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("double", "has that name already"),
        ("arithmetic", "is a part that holds concepts: name one in it"),
        ("arithmetic/double/half", "src/toy/arithmetic/double.py is a module"),
        ("arithmetic/", "part/name"),
        ("class/triple", "a word of Python's"),
        ("arithmetic/Triple", "part/name"),
        ("../triple", "part/name"),
        ("arithmetic/class", "a word of Python's"),
        ("arithmetic/double", "has that name already"),
        ("geometry/double", "has that name already"),
    ],
)
def test_a_bad_path_is_one_line_and_writes_nothing(book, path, message, capsys, monkeypatch):
    before = sorted(book.root.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["litspec", "new", path])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(book.root.rglob("*")) == before


def test_a_file_in_the_way_is_kept(book):
    (book.root / "docs/arithmetic/triple.md").write_text("mine")
    with pytest.raises(ValueError, match="already there"):
        new(Project.find(book.root), "arithmetic/triple")
    assert (book.root / "docs/arithmetic/triple.md").read_text() == "mine"
    assert app.cli(args=["check"]) == 0
