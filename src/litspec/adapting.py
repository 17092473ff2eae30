"""The beginning of an adapter: read somebody's file, and propose what in it answers to a concept.

Nothing is imported and nothing is run. What is found is written down, and what is not is marked.
"""

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from litspec.pages import Concept, Project

Synonyms = Mapping[str, list[str]]


@dataclass(frozen=True)
class Shape:
    """What a class looks like from outside.

    Args:
        name: Its name.
        arguments: Of its constructor, as text with annotations and defaults taken out.
        parts: Its parts and parameters by name, with the call that makes each.
        unpacks: How many axes its `forward` takes for granted (`B, T, C = x.shape`), or 0.
    """

    name: str
    arguments: tuple[str, ...]
    parts: dict[str, str]
    unpacks: int


def shapes(source: str) -> list[Shape]:
    r"""Return the classes of a file.

    Examples:
        >>> shapes("class A:\n    def __init__(self, width):\n        self.up = Linear(width, 2)")
        [Shape(name='A', arguments=('width',), parts={'up': 'Linear(width, 2)'}, unpacks=0)]
    """
    return [_shape(node) for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def _shape(node: ast.ClassDef) -> Shape:
    methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    arguments: tuple[str, ...] = ()
    parts: dict[str, str] = {}
    if init := methods.get("__init__"):
        arguments = tuple(one.arg for one in [*init.args.args[1:], *init.args.kwonlyargs])
        for one in ast.walk(init):
            if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(one.value, ast.Call):
                for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                    if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                        parts.setdefault(target.attr, ast.unparse(one.value))
    return Shape(node.name, arguments, parts, _unpacked(methods.get("forward")))


def _unpacked(forward: ast.FunctionDef | None) -> int:
    for node in ast.walk(forward) if forward else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            text = ast.unparse(node.value)
            if text.endswith((".shape", ".size()")):
                return len(node.targets[0].elts)
    return 0


def matches(ours: Shape, theirs: Shape, synonyms: Synonyms) -> dict[str, str]:
    """Return which part of a class answers to which of ours; a `+` joins what it keeps as one."""
    found: dict[str, str] = {}
    for name in ours.parts:
        known = [name, *synonyms.get(name, ())]
        part = next((one for one in known if one in theirs.parts), None)
        if part and part not in found.values():
            found[name] = part
    for joined, known in synonyms.items():
        parts = joined.split("+")
        if len(parts) > 1 and all(part in ours.parts for part in parts):
            part = next((one for one in known if one in theirs.parts), None)
            if part:
                found = {ours: name for ours, name in found.items() if ours not in parts}
                found[joined] = part
    return found


def propose(project: Project, concept: Concept, file: Path) -> str:
    """Return the text of an adapter, with what was found in a file and a mark where nothing was.

    Raises:
        ValueError: If the file cannot be read as Python, or holds nothing that looks alike.
    """
    try:
        there = shapes(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{file} cannot be read as Python: {error}") from error
    synonyms: Synonyms = project.synonyms
    pieces = [
        text
        for ours in shapes(concept.module.read_text(encoding="utf-8"))
        if ours.parts and (text := _class(concept, ours, there, file, synonyms))
    ]
    if not pieces:
        names = ", ".join(one.name for one in there) or "no class"
        raise ValueError(
            f"nothing in {file} looks like {concept.path}, it has {names}: write an adapter by hand"
        )
    package, _, module = concept.import_name.rpartition(".")
    head = [
        f'"""{file.name} before the laws of {concept.path}."""',
        "",
        f"import {file.stem} as theirs",
        f"from {package} import {module}",
        f"from {project.kit} import adapt",
    ]
    return "\n".join([*head, *pieces]) + "\n"


def _class(
    concept: Concept, ours: Shape, there: list[Shape], file: Path, synonyms: Synonyms
) -> str:
    """Return the part of an adapter for one class of ours, or an empty text."""
    found = {one.name: matches(ours, one, synonyms) for one in there}

    def alike(one: Shape) -> tuple[int, float]:
        named = sum(len(name.split("+")) for name in found[one.name])
        return named, difflib.SequenceMatcher(None, one.name, ours.name).ratio()

    best = max(there, key=alike, default=None)
    if best is None or not found[best.name]:
        return ""
    weights = found[best.name]
    answered = {part for name in weights for part in name.split("+")}
    signature = _signature(concept, ours.name)
    lines = ["", "", f"# {best.name} looks like {ours.name}: {', '.join(weights.values())}."]
    lines += [f"def build({signature}):"]
    lines += list(_build(ours, best, file, synonyms))
    lines += ["", "", f"{ours.name} = adapt(", f"    {concept.name}.{ours.name},", "    build,"]
    lines += ["    weights={"]
    lines += [f'        "{name}": "{part}",' for name, part in weights.items()]
    lines += [
        f'        # TODO: "{name}": what is it called in {best.name}?'
        for name, call in ours.parts.items()
        if name not in answered and "Dropout" not in call
    ]
    lines += ["    },"]
    if best.unpacks > 2:
        lines += [f"    batch_axes={best.unpacks - 2},  # its forward unpacks {best.unpacks} axes"]
    return "\n".join([*lines, ")"])


def _signature(concept: Concept, name: str) -> str:
    """Return the arguments of one of our classes, without annotations."""
    for node in ast.parse(concept.module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for one in node.body:
                if isinstance(one, ast.FunctionDef) and one.name == "__init__":
                    for argument in [*one.args.args, *one.args.kwonlyargs]:
                        argument.annotation = None
                    one.args.args = one.args.args[1:]
                    return ast.unparse(one.args)
    return "*args, **kwargs"


def _build(ours: Shape, best: Shape, file: Path, synonyms: Synonyms) -> Iterator[str]:
    """Yield the body of `build`: how the other class is made from our arguments."""
    wanted = best.arguments
    config = [one for one in wanted if "config" in one or one in {"cfg", "args"}]
    if config and len(wanted) == 1:
        fields = _fields(file, synonyms)
        yield "    # TODO: fill in each ..., and refuse what cannot be built:"
        yield '    # raise NotImplementedError("one width for inputs and outputs")'
        given = ", ".join(_argument(one, ours, synonyms) for one in fields.get("", []))
        yield f"    config = theirs.{fields.get('name', ['TODO'])[0]}({given})"
        yield f"    return theirs.{best.name}(config)"
        return
    yield "    # TODO: fill in each ..., and refuse what cannot be built:"
    yield '    # raise NotImplementedError("why")'
    given = ", ".join(_argument(one, ours, synonyms) for one in wanted)
    yield f"    return theirs.{best.name}({given})"


def _argument(name: str, ours: Shape, synonyms: Synonyms) -> str:
    """Return `name=` and the argument of ours that means the same, or a mark."""
    known = next(
        (one for one in ours.arguments if name == one or name in synonyms.get(one, ())), None
    )
    return f"{name}={known or '...'}"


def _fields(file: Path, synonyms: Synonyms) -> dict[str, list[str]]:
    """Return the fields of the configuration class in a file, and under `name` its name."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Args")):
            named = [
                one.target.id
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            ]
            known = {word for words in synonyms.values() for word in words} | synonyms.keys()
            return {"": [one for one in named if one in known], "name": [node.name]}
    return {}
