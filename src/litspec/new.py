"""The scaffold: a page, a module and a law file that are red until their blanks are filled."""

import keyword
import re
from pathlib import Path

from litspec.pages import Project

TEMPLATES = Path(__file__).parent / "templates"


def new(project: Project, path: str) -> list[Path]:
    """Write a concept's three files and its place in the navigation; return what was written.

    Raises:
        ValueError: If the path is not `part/name` in lower case, or a file or the name is taken.
    """
    words = path.split("/")
    if len(words) < 2 or not all(re.fullmatch(r"[a-z][a-z0-9_]*", word) for word in words):
        raise ValueError(f"a concept is part/name in lower case and underscores, got {path!r}")
    concept = project.concept(path)
    if keyword.iskeyword(concept.name):
        raise ValueError(f"{concept.name!r} is a word of Python's: choose another name")
    if twin := next((old for old in project.concepts.values() if old.name == concept.name), None):
        raise ValueError(f"{twin.path} has that name already: choose another than {concept.name!r}")
    if taken := [str(file) for file in concept.files.values() if file.exists()]:
        raise ValueError(f"already there, remove it or choose another name: {', '.join(taken)}")
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
    package = concept.module.parent / "__init__.py"
    if not package.exists():
        package.write_text(f'"""TODO: what the part {words[0]} is about."""\n', encoding="utf-8")
    _add_to_navigation(project.navigation, path)
    return [*concept.files.values(), project.navigation]


def _add_to_navigation(file: Path, path: str) -> None:
    """Add a page after the first run of its part's pages, or a new part after the last part.

    Some of a part may stand in an appendix.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    part = path.rpartition("/")[0]
    siblings = [at for at, line in enumerate(lines) if re.search(rf"[ :]{part}/\w+\.md$", line)]
    if siblings:
        last = next(at for at in siblings if at + 1 not in siblings)
        indent = re.match(r" *", lines[last])[0]  # type: ignore[index]
        lines.insert(last + 1, f"{indent}- {path}.md")
    else:
        pages = [at for at, line in enumerate(lines) if re.search(r"\w/\w+\.md$", line)]
        after = pages[-1] + 1 if pages else len(lines)
        lines[after:after] = [f"  - {part.capitalize()}:", f"      - {path}.md"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
