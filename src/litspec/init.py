"""The beginning of a book: two concepts that are green at once, for others to take their place."""

import json
import keyword
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates" / "book"


def init(folder: Path, package: str | None = None) -> list[Path]:
    """Write a new book into a folder and return its files.

    Args:
        folder: The folder; it is made where it is missing.
        package: The name of the package that holds the concepts; the folder's own if None.

    Raises:
        ValueError: If that is no name for a package, or a file is there already.
    """
    folder = folder.resolve()
    name = package or re.sub(r"\W+", "_", folder.name.lower()).strip("_")
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "litspec"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or taken:
        how = "in lower case and underscores, and not one of Python's: say another by --package"
        raise ValueError(f"the package's name must be a word {how}, got {name!r}")
    blanks = {
        "@package@": name,
        "@name@": name.replace("_", "-"),
        "@title@": name.replace("_", " ").capitalize(),
        "@litspec@": requirement(),
    }
    files = {}
    for template in sorted(one for one in TEMPLATES.rglob("*.txt")):
        place, text = template.relative_to(TEMPLATES).as_posix(), template.read_text("utf-8")
        for blank, value in blanks.items():
            place, text = place.replace(blank, value), text.replace(blank, value)
        files[folder / place.removesuffix(".txt")] = text
    if there := [file.relative_to(folder).as_posix() for file in files if file.exists()]:
        raise ValueError(f"already there, choose an empty folder: {', '.join(there)}")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(files)


def requirement() -> str:
    """Return how a book asks for litspec: for this version, and from where it was installed."""
    try:
        found = distribution("litspec")
    except PackageNotFoundError:  # run from its sources
        return "litspec"
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return f"litspec @ {origin['url']}" if "url" in origin else f"litspec>={found.version}"
