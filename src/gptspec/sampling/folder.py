"""A folder: documents out of the articles and notebooks that lie on a disk."""

import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

from gptspec import files

INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span|strong|sub|sup|"
    "time|tt|u|var|wbr"
)
SILENT = ("script", "style", "template")


class _HTML(HTMLParser):
    """Collects the paragraphs a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self.text = ""
        self.inside: Counter[str] = Counter()

    def handle_data(self, data: str) -> None:
        if not any(self.inside[tag] for tag in SILENT):
            self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.end_paragraph(tag)
        self.inside[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self.end_paragraph(tag)
        self.inside[tag] = max(0, self.inside[tag] - 1)

    def end_paragraph(self, tag: str) -> None:
        if not INLINE.fullmatch(tag):
            text = self.text.strip("\n") if self.inside["pre"] else " ".join(self.text.split())
            self.paragraphs += [text] if text else []
            self.text = ""


def _html(source: str) -> str:
    page = _HTML()
    page.feed(source)
    page.close()
    page.end_paragraph("html")
    return "\n\n".join(page.paragraphs)


def _notebook(source: str) -> str:
    try:
        return "\n\n".join("".join(cell["source"]) for cell in json.loads(source)["cells"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("not a notebook of format 4: no cells with a source") from error


READERS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys([".txt", ".md", ".rst", ".py"], str),
    ".ipynb": _notebook,
    **dict.fromkeys([".html", ".htm"], _html),
}


def read_folder(
    path: Path, *, unreadable: Literal["error", "skip"] = "error"
) -> tuple[list[str], list[Path]]:
    """Return the texts below a folder, by name, and the files that gave none.

    Reads `.txt .md .rst .py` as they are, of `.ipynb` the cells without their outputs, of
    `.html .htm` the visible text. Hidden files and folders (`.git`, `.ipynb_checkpoints`) are
    not looked at. An empty file gives no text and no error.

    Args:
        path: The folder, or a single file.
        unreadable: What to do with a file that is binary, not UTF-8, or broken.

    Raises:
        ValueError: If a file is unreadable and `unreadable` is "error", or if no text is found.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.html").write_text("<p>An <b>article</b>.</p>")
        ...     read_folder(Path(folder))
        (['An article.'], [])
    """
    if unreadable not in ("error", "skip"):
        raise ValueError(f"unreadable must be 'error' or 'skip', got {unreadable!r}")
    texts, skipped = [], []
    path = Path(path)
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if hidden or file.suffix.lower() not in READERS or not file.is_file():
            continue
        try:
            # utf-8-sig drops the byte order mark that Windows puts first.
            text = READERS[file.suffix.lower()](file.read_text(encoding="utf-8-sig"))
            if "\0" in text:
                raise ValueError("zero bytes, as in binary files")
            text.encode()  # refuses half of a character, which JSON can hold
        except (OSError, ValueError) as error:
            if unreadable == "error":
                raise ValueError(
                    f"cannot read {file} as UTF-8 text ({files.reason(error)}): "
                    "save it as UTF-8, take it out of the folder, or pass unreadable='skip'"
                ) from error
            text = ""
        if text.strip():
            texts.append(text)
        else:
            skipped.append(file)
    if not texts:
        raise ValueError(f"no text found in path {path}: it needs files {' '.join(READERS)}")
    return texts, skipped
