"""The beginning of an adapter, read off a file that nobody runs."""

import ast

import pytest

from litspec.adapting import matches, propose, shapes
from litspec.cli import app
from litspec.pages import Project

OURS = """
class Layer:
    def __init__(self, width, *, n_heads=1, bias=False):
        self.query, self.n = Linear(width, width), 3
        self.key = Linear(width, width)
        self.query = Linear(width, width)
        self.output = Linear(width, width)
        self.drop = Dropout(0.1)
"""
THEIRS = """
class Config:
    n_head: int = 2
    dim: int = 8
    other: str = ""

class Unlike:
    def __init__(self, a):
        self.something = Linear(a, a)

class Attn:
    def __init__(self, config):
        self.qk = Linear(config.dim, 2 * config.dim)
        self.proj = Linear(config.dim, config.dim)

    def forward(self, x):
        B, T, C = x.size()
        return x
"""
SYNONYMS = {
    "query": ["q"],
    "output": ["proj"],
    "query+key": ["qk"],
    "width": ["dim"],
    "n_heads": ["n_head"],
}


def test_parts_are_found_by_name_and_joined_ones_together():
    [ours] = shapes(OURS)
    theirs = {one.name: one for one in shapes(THEIRS)}
    assert list(ours.parts) == ["key", "query", "output", "drop"]
    assert matches(ours, theirs["Attn"], SYNONYMS) == {"output": "proj", "query+key": "qk"}
    assert matches(ours, theirs["Unlike"], SYNONYMS) == {}
    assert theirs["Attn"].unpacks == 3


@pytest.fixture
def layer(book):
    """The toy book with a concept that has a class, and somebody's file."""
    (book.root / "src/toy/arithmetic/double.py").write_text(OURS)
    lines = [f'"{name}" = {words!r}' for name, words in SYNONYMS.items()]
    book.edit("pyproject.toml", 'package = "toy"\n', 'package = "toy"\nkit = "toy_kit"\n')
    with (book.root / "pyproject.toml").open("a") as file:
        file.write("\n".join(["[tool.litspec.synonyms]", *lines, ""]))
    (book.root / "model.py").write_text(THEIRS)
    return book


def test_what_is_found_is_written_and_what_is_not_is_marked(layer):
    project = Project.find(layer.root)
    text = propose(project, project.concepts["arithmetic/double"], layer.root / "model.py")
    ast.parse(text)
    assert "from toy_kit import adapt" in text
    assert "def build(width, *, n_heads=1, bias=False):" in text
    assert "config = theirs.Config(n_head=n_heads, dim=width)" in text
    assert "return theirs.Attn(config)" in text
    assert '"output": "proj",' in text
    assert '"query+key": "qk",' in text
    assert "batch_axes=1" in text
    (layer.root / "model.py").write_text(THEIRS.replace("self.proj", "self.mix"))
    text = propose(project, project.concepts["arithmetic/double"], layer.root / "model.py")
    assert '# TODO: "output": what is it called in Attn?' in text


def test_the_command_writes_an_adapter_and_never_over_another(layer, capsys):
    assert app.cli(args=["adapt", "arithmetic/double", "model.py"]) == 0
    assert "theirs.Attn" in capsys.readouterr().out
    assert app.cli(args=["adapt", "arithmetic/double", "model.py", "--out", "double.py"]) == 0
    with pytest.raises(ValueError, match="there already"):
        app.cli(args=["adapt", "arithmetic/double", "model.py", "--out", "double.py"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("class Other: pass", "nothing in .* looks like"), ("def f(:", "cannot be read as Python")],
)
def test_a_file_without_an_answer_is_said(layer, text, message):
    (layer.root / "model.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        app.cli(args=["adapt", "arithmetic/double", "model.py"])
