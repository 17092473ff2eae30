"""Every concept is an exercise: it begins as to do, and the reference's bodies finish it.

All laws of all concepts run twice, which takes minutes: `nox -s exercises`.
"""

import ast
from pathlib import Path

import pytest

from litspec.exercise import empty, exercise
from litspec.judge import judge
from litspec.pages import Project

PROJECT = Project.find(Path(__file__))
NAMES = sorted(PROJECT.concepts)


def qualified(tree, prefix=""):
    """Return all functions of a module by qualified name."""
    found = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                found[name] = node
            else:
                found |= qualified(node, f"{name}.")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_the_reference_without_bodies(name):
    reference = ast.parse(PROJECT.concepts[name].module.read_text(encoding="utf-8"))
    emptied = ast.parse(empty(PROJECT.concepts[name].module.read_text(encoding="utf-8")))
    theirs, ours = qualified(reference), qualified(emptied)
    public = {key for key in theirs if not any(part.startswith("_") for part in key.split("."))}
    assert public <= set(ours) <= set(theirs)
    for key, function in ours.items():
        assert ast.unparse(function.args) == ast.unparse(theirs[key].args)
        assert ast.get_docstring(function) == ast.get_docstring(theirs[key])
        *_, last = function.body
        assert ast.unparse(last) == "raise NotImplementedError"
        assert len(function.body) == 1 + (ast.get_docstring(function) is not None)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Judge all exercises as they begin, and again with the reference's modules in their place."""
    folder = tmp_path_factory.mktemp("exercises")
    begun, finished = {}, {}
    for name, concept in PROJECT.concepts.items():
        begun[name] = str(exercise(PROJECT, concept, folder / "begun"))
        file = folder / "finished" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(put_back(Path(begun[name]).read_text(), concept.module.read_text()))
        finished[name] = str(file)
    return [
        {one.concept.path: one for one in judge(PROJECT, targets, "--examples=2", explain=False)}
        for targets in (begun, finished)
    ]


def put_back(exercise_source, reference_source):
    """Write the reference's bodies, and what they need, into an exercise."""
    tree, reference = ast.parse(exercise_source), ast.parse(reference_source)
    ours, theirs = qualified(tree), qualified(reference)
    for key, function in ours.items():
        function.body = theirs[key].body
    for key in sorted(set(theirs) - set(ours)):  # private helpers of the reference
        owner, _, _ = key.rpartition(".")
        home = next(
            (
                node
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef) and node.name == owner
            ),
            tree,
        )
        if home is not tree or not owner:
            home.body.append(theirs[key])
    present = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    tree.body += [
        node
        for node in reference.body
        if isinstance(node, ast.ClassDef) and node.name not in present
    ]
    return ast.unparse(tree)


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_begins_as_to_do(verdicts, name):
    outcomes = [result["outcome"] for result in verdicts[0][name].results]
    assert "not offered" in outcomes
    assert not {"failed", "crashed"} & set(outcomes)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_bodies_finish_it(verdicts, name):
    outcomes = {result["law"]: result["outcome"] for result in verdicts[1][name].results}
    assert set(outcomes.values()) <= {"passed", "not run"}  # slow laws run apart
    assert list(outcomes) == [law.name for law in PROJECT.concepts[name].page.laws]
