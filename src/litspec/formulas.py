"""Formulas set when the site is built, as a Markdown extension: no script runs in the browser.

`pymdownx.arithmatex` marks the formulas (`generic: true`), KaTeX sets them. It comes as one script
file that the `katex` setting names and that runs here in a small JavaScript engine. What it
returns is a picture of HTML that programs are told to pass by, and MathML for readers who listen
and for the search, which so finds no raw TeX.
"""

import json
import re
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

# The page shows it beside the formula that it is the source of.
SOURCE = re.compile(r"<annotation encoding=\"application/x-tex\">.*?</annotation>", re.DOTALL)
# The search passes by what is so marked, up to the next end of an element of that name: the picture
# is made of `span`, so it becomes another.
PICTURE = r'<span class="katex-html" aria-hidden="true">(.*)</span>({})$'
UNSEARCHED = r"<bdi class='katex-html' data-search-exclude aria-hidden='true'>\1</bdi>\2"


@cache
def typesetter(script: Path) -> Any:
    """Return a JavaScript engine that has read KaTeX."""
    import quickjs

    engine = quickjs.Context()
    engine.eval(script.read_text(encoding="utf-8"))
    return engine


@cache
def typeset(tex: str, display: bool, script: Path) -> str:
    """Return a formula as HTML and MathML.

    Raises:
        ValueError: If KaTeX cannot read it.
    """
    settings = {"displayMode": display, "strict": "error", "output": "htmlAndMathml"}
    call = f"JSON.stringify(katex.renderToString({json.dumps(tex)}, {json.dumps(settings)}))"
    try:
        html: str = json.loads(typesetter(script).eval(call))
    except Exception as error:  # the engine's own, whose name depends on its version
        raise ValueError(f"KaTeX cannot set the formula {tex!r}: {error}") from error
    ends = "</span>" * (1 + display)
    return re.sub(PICTURE.format(ends), UNSEARCHED, SOURCE.sub("", html), flags=re.DOTALL)


class Typesetter(Treeprocessor):
    """Puts in the place of each formula what KaTeX makes of it."""

    def __init__(self, md: Markdown, script: Path) -> None:
        super().__init__(md)
        self.script = script

    def run(self, root: Element) -> None:
        """Set every formula that arithmatex marked."""
        for element in root.iter():
            if element.get("class") == "arithmatex" and (text := element.text or "").strip():
                tex = unescape(text).strip()  # it was made fit for HTML
                display = tex.startswith(r"\[")
                html = typeset(tex[2:-2].strip(), display, self.script)
                element.text = self.md.htmlStash.store(html)


class Formulas(Extension):
    """The extension: `katex` is the path of KaTeX's script, from the folder of the build."""

    def __init__(self, **settings: Any) -> None:
        self.config = {"katex": ["docs/assets/katex/katex.min.js", "KaTeX's script"]}
        super().__init__(**settings)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Run after the inline patterns have found formulas, and before headings are listed."""
        script = Path(self.getConfig("katex"))
        md.treeprocessors.register(Typesetter(md, script), "formulas", 15)


def makeExtension(**settings: Any) -> Formulas:  # noqa: N802
    """Return the extension, as Python-Markdown asks for it."""
    return Formulas(**settings)
