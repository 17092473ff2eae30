"""The modules a law can judge: the reference, mistakes made in it, peers, and a reader's own."""

import ast
import importlib
import importlib.util
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from litspec.pages import Concept, Law, Mistake, Project


class NotOfferedError(AttributeError, NotImplementedError):
    """A law asks for a name that this implementation does not have."""


@dataclass(frozen=True)
class Implementation:
    """A module under test.

    Args:
        name: `reference`, `mistake:NAME`, a peer's name, or `yours`.
        module: The module, or why it could not be loaded.
        must_fail: Why the law has to fail on it, or an empty string.
    """

    name: str
    module: ModuleType | ValueError
    must_fail: str = ""


def reference(concept: Concept) -> Implementation:
    """Return the concept's own module."""
    return Implementation("reference", importlib.import_module(concept.import_name))


def mistakes(concept: Concept, law: Law | None = None) -> Iterator[Implementation]:
    """Yield the concept's module with each mistake made; with a law, only those it must catch."""
    for mistake in concept.page.mistakes:
        if law is None or law.id in mistake.caught_by:
            module: ModuleType | ValueError
            try:
                module = make_mistake(concept, mistake)
            except ValueError as error:
                module = error  # one bad diff must not hide the outcome of all other laws
            yield Implementation(f"mistake:{mistake.name}", module, mistake.story)


def make_mistake(concept: Concept, mistake: Mistake) -> ModuleType:
    """Return the concept's module with a mistake made in its source.

    Raises:
        ValueError: If the diff does not fit, or the module no longer imports.
    """
    try:
        source = mistake.apply(concept.module.read_text(encoding="utf-8"))
        return execute(source, f"<{mistake.id}>", concept)
    except Exception as error:
        raise ValueError(f"{concept.page.file}:{mistake.line}: {mistake.id}: {error}") from error


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


def deviations(file: Path) -> dict[str, str]:
    """Return the laws that an adapter says its peer breaks, with the reasons, without running it.

    Raises:
        ValueError: If `DEVIATIONS` is not a plain dictionary of texts.
    """
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEVIATIONS":
            try:
                declared = ast.literal_eval(node.value)
                return {str(law): str(reason) for law, reason in declared.items()}
            except (ValueError, AttributeError) as error:
                raise ValueError(
                    f"{file}:{node.lineno}: DEVIATIONS maps laws to reasons"
                ) from error
    return {}


def peers(project: Project, concept: Concept, law: Law) -> Iterator[Implementation]:
    """Yield the adapters of a concept; a declared deviation must fail."""
    for name, file in peer_files(project, concept).items():
        reason = deviations(file).get(law.name, "")
        yield Implementation(name, load(file, f"peers.{name}.{concept.name}"), reason)


def yours(target: str, name: str) -> ModuleType | ValueError:
    """Return a reader's own file, or importable module, or why there is none."""
    file = Path(target)
    if file.suffix == ".py" or file.exists():
        return load(file, name)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return open_module(importlib.import_module(target))
    except Exception as error:
        return ValueError(f"{target} does not import: {describe(error)}")


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


def load(file: Path, name: str) -> ModuleType | ValueError:
    """Return the module in a file, or why there is none."""
    try:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            return ValueError(f"{file} is no Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    except SyntaxError as error:
        return ValueError(f"{error.filename}:{error.lineno}: {error.msg}")
    except Exception as error:
        return ValueError(f"{file} does not import: {describe(error)}")
    return open_module(module)


def open_module(module: ModuleType) -> ModuleType:
    """Let a missing name say that it is not offered, instead of looking like a crash."""

    def missing(name: str) -> object:
        raise NotOfferedError(f"{module.__name__} has no {name}")

    vars(module).setdefault("__getattr__", missing)
    return module


def describe(error: BaseException) -> str:
    """Return an exception in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
