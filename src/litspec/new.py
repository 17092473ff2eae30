"""The scaffold: a page, a module and a law file that are red until their blanks are filled."""

import keyword
import re
from pathlib import Path

from litspec.pages import Concept, Project, read_text

TEMPLATES = Path(__file__).parent / "templates"


def new(project: Project, path: str) -> list[Path]:
    """Write a concept's three files and its place in the navigation; return what was written.

    Raises:
        ValueError: If the path is not like `part/name` in lower case, if a file or the name is
            taken, or if there is no navigation.
    """
    words = path.split("/")
    if not all(re.fullmatch(r"[a-z][a-z0-9_]*", word) for word in words):
        raise ValueError(f"a concept is part/name in lower case and underscores, got {path!r}")
    concept = project.concept(path)
    if word := next(filter(keyword.iskeyword, words), None):
        raise ValueError(f"{word!r} is a word of Python's: choose another name")
    if concept.module.with_suffix("").is_dir():
        raise ValueError(f"{path} is a part that holds concepts: name one in it, {path}/…")
    for part in _parts(project, concept):
        if part.with_suffix(".py").exists():
            where = project.relative(part.with_suffix(".py"))
            raise ValueError(f"{where} is a module and can hold no concept: choose another part")
    if twin := next((old for old in project.concepts.values() if old.name == concept.name), None):
        raise ValueError(f"{twin.path} has that name already: choose another than {concept.name!r}")
    if taken := [project.relative(file) for file in concept.files.values() if file.exists()]:
        raise ValueError(f"already there, remove it or choose another name: {', '.join(taken)}")
    if not project.entries:
        raise ValueError(f"{project.relative(project.navigation)} has no nav: write one first")
    blanks = {
        "@name@": concept.name,
        "@title@": concept.name.replace("_", " ").capitalize(),
        "@module@": concept.import_name,
        "@file@": concept.module.relative_to(project.root).as_posix(),
    }
    for kind, file in concept.files.items():
        text = (TEMPLATES / f"{kind}.txt").read_text(encoding="utf-8")
        for blank, value in blanks.items():
            text = text.replace(blank, value)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for part in _parts(project, concept):
        if not (part / "__init__.py").exists():
            text = f'"""TODO: what the part {part.name} is about."""\n'
            (part / "__init__.py").write_text(text, encoding="utf-8")
    _add_to_navigation(project, path)
    return [*concept.files.values(), project.navigation]


def _parts(project: Project, concept: Concept) -> list[Path]:
    """Return the folders of the package that a concept lies in, but not the package itself."""
    return [one for one in concept.module.parents if project.source in one.parents]


def _add_to_navigation(project: Project, path: str) -> None:
    """Add a page after the first run of its part's pages, or a new part after the last part.

    Some of a part may stand in an appendix.
    """
    lines = read_text(project.navigation).splitlines()
    part = path.rpartition("/")[0]
    siblings = [line for page, line in project.entries if page.rpartition("/")[0] == part != ""]
    if siblings:
        last = next(line for line in siblings if line + 1 not in siblings)
        lines.insert(last, f"{_indent(lines[last - 1])}- {path}.md")
    else:
        in_parts = [line for page, line in project.entries if "/" in page]
        after = (in_parts or [line for _, line in project.entries])[-1]
        nav = next(at for at, line in enumerate(lines) if line.startswith("nav:"))
        indent = _indent(lines[nav + 1])
        title = part.rpartition("/")[2].replace("_", " ").capitalize()
        nested = [f"{indent}- {title}:", f"{indent}    - {path}.md"]
        lines[after:after] = nested if part else [f"{indent}- {path}.md"]
    project.navigation.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
