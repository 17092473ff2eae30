"""The modules a law can judge: the reference, mistakes made in it, peers, and a reader's own."""

import ast
import difflib
import importlib
import importlib.util
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from litspec.examples import TimeLimitError, time_limit
from litspec.outcomes import Expectation, Kind, NotOfferedError
from litspec.pages import Concept, Law, Mistake, Project, read_text


class LoadError(ValueError):
    """An implementation that cannot be put on trial, and why."""


@dataclass(frozen=True)
class Implementation:
    """A module under test.

    Args:
        kind: Whose code it is.
        name: `reference`, `mistake:NAME`, a peer's name, or `yours`.
        module: The module; None if it could not be loaded.
        expected: Why a law has to fail on it; None where it must hold.
        problem: Why there is no module.
    """

    kind: Kind
    name: str
    module: ModuleType | None
    expected: Expectation | None = None
    problem: str = ""


def implementation(
    kind: Kind, name: str, make: Callable[[], ModuleType], expected: Expectation | None = None
) -> Implementation:
    """Return what `make` makes, or why it could not: one that fails must not hide all others."""
    try:
        return Implementation(kind, name, make(), expected)
    except LoadError as error:
        return Implementation(kind, name, None, expected, str(error))


def reference(concept: Concept) -> Implementation:
    """Return the concept's own module."""
    module = importlib.import_module(concept.import_name)
    return Implementation(Kind.REFERENCE, "reference", module)


def mistakes(concept: Concept, law: Law | None = None) -> Iterator[Implementation]:
    """Yield the concept's module with each mistake made; with a law, only those it must catch."""
    for mistake in concept.page.mistakes:
        if law is None or law.id in mistake.caught_by:
            make = partial(make_mistake, concept, mistake)
            name, expected = f"mistake:{mistake.name}", Expectation(mistake.story)
            yield implementation(Kind.MISTAKE, name, make, expected)


def make_mistake(concept: Concept, mistake: Mistake) -> ModuleType:
    """Return the concept's module with a mistake made in its source.

    Raises:
        LoadError: If the diff does not fit, or the module no longer imports.
    """
    try:
        source = mistake.apply(concept.module.read_text(encoding="utf-8"))
        return execute(source, f"<{mistake.id}>", concept)
    except Exception as error:
        raise LoadError(f"{concept.page.file}:{mistake.line}: {mistake.id}: {error}") from error


def execute(source: str, name: str, concept: Concept) -> ModuleType:
    """Run a module's source as if it stood in the concept's place."""
    module = ModuleType(concept.import_name)
    module.__file__ = str(concept.module)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    return module


def peer_files(project: Project, concept: Concept) -> dict[str, Path]:
    """Return the adapters of a concept, by peer."""
    folders = sorted((project.tests / "peers").glob("[!_.]*/"))
    files = {folder.name: folder / f"{concept.path}.py" for folder in folders}
    return {name: file for name, file in files.items() if file.exists()}


def deviations(file: Path) -> dict[str, Expectation]:
    """Return the laws that an adapter says its peer breaks, and how, without running it.

    `DEVIATIONS` maps a law's name to a reason and to what the failure shows: a text that it says,
    or a number, the largest difference that it may come to.

    Raises:
        ValueError: If `DEVIATIONS` is not such a dictionary.
    """
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEVIATIONS":
            try:
                return {
                    law: _deviation(*said) for law, said in ast.literal_eval(node.value).items()
                }
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{file}:{node.lineno}: DEVIATIONS maps each law to a reason and to what the "
                    f"failure shows, a text or the largest difference: {error}"
                ) from error
    return {}


def _deviation(reason: str, shows: str | float) -> Expectation:
    if not reason or not isinstance(reason, str) or isinstance(shows, bool) or not shows:
        raise ValueError(f"{reason!r}, {shows!r}")
    return (
        Expectation(reason, shows) if isinstance(shows, str) else Expectation(reason, None, shows)
    )


def peers(project: Project, concept: Concept, law: Law) -> Iterator[Implementation]:
    """Yield the adapters of a concept; a declared deviation must fail, and as it is declared."""
    for name, file in peer_files(project, concept).items():
        make = partial(_load_peer, project, file, f"peers.{name}.{concept.name}")
        yield implementation(Kind.PEER, name, make, deviations(file).get(law.name))


def _load_peer(project: Project, file: Path, name: str) -> ModuleType:
    try:
        return load(file, name)
    except LoadError as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name:
            raise LoadError(f"{error}\n{_install(project, error.__cause__.name)}") from error
        raise


def _install(project: Project, module: str) -> str:
    """Return how to install an absent module, in the version that the project names if it does."""
    lists = [project.root / "pyproject.toml", *sorted((project.tests / "peers").glob("*.txt"))]
    text = "\n".join(read_text(file) for file in lists)
    name = re.sub(r"[-_.]", "[-_.]", module.partition(".")[0])
    found = re.search(rf"\b{name}\b *[=<>~!]=[^\s\"',]+", text, re.IGNORECASE)
    return f"install it: pip install {found[0] if found else module.partition('.')[0]}"


def yours(target: str, name: str, law_seconds: float = 0) -> Implementation:
    """Return a reader's own file, or importable module, or why there is none in time."""
    concept = name.rpartition(".")[0]
    try:
        with time_limit(law_seconds):
            return implementation(Kind.YOURS, concept, partial(_import, target, name))
    except TimeLimitError as error:
        return Implementation(Kind.YOURS, concept, None, None, f"{target}, on import: {error}")


def _import(target: str, name: str) -> ModuleType:
    file = Path(target)
    if file.suffix == ".py" or file.exists():
        sys.path.append(str(file.resolve().parent))  # its neighbours, after all that is installed
        return load(file, name)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return open_module(importlib.import_module(target))
    except Exception as error:
        raise LoadError(f"{target} does not import: {describe(error)}") from error


class Substitute(MetaPathFinder):
    """Finds modules of the package in files that stand in for them."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Return the stand-in's spec, or None to let Python look further."""
        file = self.files.get(name)
        return importlib.util.spec_from_file_location(name, file) if file else None


def substitute(project: Project, folder: Path) -> list[str]:
    """Let imports find the concepts in a folder before the reference; return which there are."""
    files = {path: (folder / f"{path}.py").resolve() for path in project.concepts}
    found = {path: file for path, file in files.items() if file.exists()}
    names = {project.concepts[path].import_name: file for path, file in found.items()}
    sys.meta_path.insert(0, Substitute(names))
    return list(found)


def load(file: Path, name: str) -> ModuleType:
    """Return the module in a file.

    Raises:
        LoadError: If there is none.
    """
    try:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise LoadError(f"{file} is no Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    except LoadError:
        raise
    except SyntaxError as error:
        raise LoadError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        raise LoadError(f"{file} does not import: {describe(error)}{_from(file, error)}") from error
    return open_module(module)


def _from(file: Path, error: BaseException) -> str:
    """Return the traceback of an error from a file on, and nothing where it is one line."""
    frames = traceback.extract_tb(error.__traceback__)
    start = next((at for at, one in enumerate(frames) if one.filename == str(file)), None)
    if start is None or (len(frames) - start < 2 and isinstance(error, ImportError)):
        return ""
    return "\n" + "".join(traceback.format_list(frames[start:])).rstrip()


def open_module(module: ModuleType) -> ModuleType:
    """Let a missing name say that it is not offered, instead of looking like a crash."""

    def missing(name: str) -> object:
        near = difflib.get_close_matches(name, vars(module), 1)
        hint = f" (is it {near[0]}?)" if near else ""
        raise NotOfferedError(f"{name}{hint}")

    vars(module).setdefault("__getattr__", missing)
    return module


def describe(error: BaseException) -> str:
    """Return an exception in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
