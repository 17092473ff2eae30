"""Figures as SVG that follow the page: its text colour, its font, no background.

Every figure of the site, and the demo's loss curve, is a matplotlib figure that ends in `svg`.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

INK = "#010203"  # a colour nothing else uses: `svg` turns it into the page's own
TEAL, AMBER, ROSE, VIOLET, GRAY = "#0d9488", "#d97706", "#e11d48", "#7c3aed", "#888888"
READABLE = 0.76  # letters of 9 points, the smallest used, have then 9 pixels
COLOURS = (TEAL, AMBER, VIOLET, ROSE, GRAY)

STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 11,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gptspec",  # the same figure is the same file
    **dict.fromkeys(
        ["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK
    ),
}
mpl.rcParams.update(STYLE)  # also for what is drawn onto a panel later


def panels(count: int = 1, *, width: float = 6.4, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with `count` panels side by side (inches)."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, count, squeeze=False)
    return figure, list(axes[0])


def heatmap(
    axes: Axes,
    matrix: Float[Tensor, "rows columns"],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    values: bool = False,
) -> None:
    """Draw a matrix: the deeper the colour, the larger; teal is positive, rose negative.

    With `values`, each cell also says its number.
    """
    matrix = matrix.detach().double().cpu()
    strength = matrix.abs() / matrix.abs().max().clamp(min=1e-12)
    image = [
        [(*to_rgb(TEAL if value >= 0 else ROSE), depth) for value, depth in zip(*pair, strict=True)]
        for pair in zip(matrix.tolist(), strength.tolist(), strict=True)
    ]
    axes.imshow(image, aspect="auto" if max(matrix.shape) > 40 else "equal", interpolation="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(columns)), columns, rotation=60 if "".join(columns)[8:] else 0)
    axes.set_yticks(range(len(rows)), rows)
    if values:
        for row, numbers in enumerate(matrix.tolist()):
            for column, number in enumerate(numbers):
                axes.text(column, row, f"{number:.2f}".rstrip("0").rstrip("."),
                          ha="center", va="center", fontsize=9)  # fmt: skip


def lines(axes: Axes, x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw named curves over the same points, with a legend when there are several."""
    for name, y in curves.items():
        axes.plot(x, y, label=name)
    if len(curves) > 1:
        axes.legend()


def tokens(pieces: Iterable[tuple[str, int | Sequence[int]]]) -> str:
    """Return a text as boxes, one for each token, with its id or ids below (HTML).

    Examples:
        >>> tokens([("a", 97)])
        '<p class="tokens"><span>a<small>97</small></span></p>'
    """
    boxes = []
    for text, ids in pieces:
        numbers = [ids] if isinstance(ids, int) else ids
        boxes.append(
            f"<span>{escape(visible(text))}<small>{' '.join(map(str, numbers))}</small></span>"
        )
    return f'<p class="tokens">{"".join(boxes)}</p>'


def touch(scripts: str, still: str, **data: Any) -> str:
    """Return a still figure that scripts of the page turn into something to touch (HTML).

    Args:
        scripts: Names in `docs/assets/touch`, with a space between; the last one draws.
        still: What is seen without scripts.
        data: What the script reads, as JSON.

    Examples:
        >>> touch("clock", "Noon.", hour=12)
        '<div data-touch="clock">Noon.<script type="application/json">{"hour": 12}</script>...'
    """
    told = json.dumps(data, ensure_ascii=False).replace("</", r"<\/")
    told = f'<script type="application/json">{told}</script>'
    return f'<div data-touch="{scripts}">{still}{told}</div>'


def table(
    caption: str, cells: Sequence[Sequence[str]], *, rows: Sequence[str], columns: Sequence[str]
) -> str:
    """Return a small table with a head for each row and column (HTML).

    Examples:
        >>> table("scores", [["1"]], rows=["cat"], columns=["sat"]).count("<th ")
        2
    """
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for name, row in zip(rows, cells, strict=True)
    )
    head = f"<caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead>"
    return f"<table>{head}<tbody>{body}</tbody></table>"


def visible(text: str) -> str:
    """Return a text whose spaces and line breaks can be seen.

    Examples:
        >>> visible("a b")
        'a␣b'
    """
    return text.replace(" ", "␣").replace("\n", "⏎")


def picture(figure: Figure, description: str) -> str:
    """Return the figure as an SVG element, with a description for readers who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :].strip().replace(INK, "currentColor")
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    element = f'<svg class="figure" role="img" aria-label="{label}" '
    return _own_names(drawn).replace("<svg ", element, 1)


def svg(figure: Figure, description: str) -> str:
    """Return the figure for a page, where it stays wide enough for its letters to be read.

    A screen that is narrower moves it sideways.
    """
    least = f"min-width: {READABLE * figure.get_figwidth() * 72:.0f}pt"
    drawn = picture(figure, description).replace("<svg ", f'<svg style="{least}" ', 1)
    return f'<div class="figure" tabindex="0">{drawn}</div>'


def _own_names(picture: str) -> str:
    """Rename what a picture refers to in itself, since matplotlib's names recur in every figure."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', picture))
    own = hashlib.sha256(picture.encode()).hexdigest()[:8]

    def named(match: re.Match[str]) -> str:
        return f' id="{own}-{match[1]}"' if match[1] in used else ""

    picture = re.sub(r' id="([^"]*)"', named, picture)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", picture)
