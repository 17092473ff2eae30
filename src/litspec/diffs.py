"""Diffs whose changed words are marked, as a Markdown extension.

Lines that were taken away and lines that were put in their place are compared word by word, and
what differs stands in `<mark>`. A pair of lines with little in common is left as it is.
"""

import re
from difflib import SequenceMatcher
from html import escape, unescape
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor

LINE = r"(?:<a id=[^>]*></a>)?<span class=\"{}\">[^<]*(?:</span>\n?|\n</span>)"
CHANGE = re.compile(f"((?:{LINE.format('gd')})+)((?:{LINE.format('gi')})+)")
TEXT = re.compile(r"<span class=\"g[di]\">([^<]*)</span>")
WORD = re.compile(r"\w+|\s+|[^\w\s]")
ALIKE = 0.5  # below this a line is another line, not a changed one


def marked(old: str, new: str) -> tuple[str, str]:
    """Return two lines as HTML, with marks around what differs between them.

    Examples:
        >>> marked("-  triu(1)", "+  triu(2)")
        ('-  triu(<mark>1</mark>)', '+  triu(<mark>2</mark>)')
    """
    left, right = WORD.findall(old[1:]), WORD.findall(new[1:])
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    if matcher.ratio() < ALIKE:
        return escape(old, quote=False), escape(new, quote=False)
    out: tuple[list[str], list[str]] = ([], [])
    for kind, i, j, k, m in matcher.get_opcodes():
        for side, words in zip(out, (left[i:j], right[k:m]), strict=True):
            text = escape("".join(words), quote=False)
            side.append(f"<mark>{text}</mark>" if kind != "equal" and text.strip() else text)
    return old[0] + "".join(out[0]), new[0] + "".join(out[1])


def mark(change: re.Match[str]) -> str:
    """Mark the words of a change: lines are paired in order."""
    removed, added = ([unescape(text) for text in TEXT.findall(part)] for part in change.groups())
    pairs = [marked(old, new) for old, new in zip(removed, added, strict=False)]
    html = []
    for part, lines in zip(change.groups(), zip(*pairs, strict=True), strict=True):
        queue = list(lines)
        html.append(
            TEXT.sub(
                lambda one, queue=queue: (
                    one[0].replace(one[1], queue.pop(0), 1) if queue and one[1] else one[0]
                ),
                part,
            )
        )
    return "".join(html)


class Marker(Postprocessor):
    """Marks the changed words of every diff on a page."""

    def run(self, text: str) -> str:
        """Find changes in finished HTML."""
        return CHANGE.sub(mark, text)


class Diffs(Extension):
    """The extension."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Run when code blocks stand in the page as HTML."""
        md.postprocessors.register(Marker(md), "diffs", 0)


def makeExtension(**settings: Any) -> Diffs:  # noqa: N802
    """Return the extension, as Python-Markdown asks for it."""
    return Diffs(**settings)
