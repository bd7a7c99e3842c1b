"""Drawings of matplotlib as SVG in the colours of the page, light and dark."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

INK, MUTED, GRID = "#1b1c20", "#5a5e66", "#d5d9e0"
SERIES = ("#51637a", "#1f5fbf", "#b4410e", "#7b3fc4", "#8a6100", "#b3246b")
TEACHER = "#12733a"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    TEACHER: "teacher",
    **{colour: f"series-{number}" for number, colour in enumerate(SERIES)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, read aloud, small
    "svg.hashsalt": "tutelage",  # the same drawing is the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=SERIES),
    "savefig.facecolor": "none",
}
_UNUSED_ID = re.compile(r' id="[a-zA-Z]+[\w.]*_\d+"')  # of groups, which nothing refers to
_ROOT = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', re.DOTALL)


def series_colour(number: int) -> str:
    """Return the colour of the n-th arm; they recur."""
    return SERIES[number % len(SERIES)]


class Drawing(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100, facecolor="white")
        return file.getvalue()


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches; the page is narrowest at five."""
    return Drawing((width, height), layout="constrained")


def style() -> Any:
    """Return the context in which figures are drawn and saved."""
    return rc_context(_STYLE)  # pyright: ignore[reportArgumentType]


def settle(figure: Figure) -> None:
    """Lay a figure out now, so that saving it does not draw it a first time for that alone."""
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)


def curves_of(figure: Figure) -> list[dict[str, Any]]:
    """Return the labelled curves of a figure that was drawn, for what reads them off.

    Returns:
        For each axes ``box``, its x, y, width and height in points from the upper left; ``x``, its
        limits; ``of``, what x is; ``title``; ``curves``, points by label.
    """
    width, height = (72 * inches for inches in figure.get_size_inches())
    found: list[dict[str, Any]] = []
    for axes in figure.axes:
        place = axes.get_position()
        curves: dict[str, list[list[float]]] = {}
        for line in axes.lines:
            points = np.asarray(line.get_xydata(), float)
            if len(points) > 2 and not str(line.get_label()).startswith("_"):
                curves[str(line.get_label())] = [
                    [float(f"{x:.4g}"), float(f"{y:.4g}")] for x, y in points if math.isfinite(y)
                ]
        if curves:
            box = (place.x0 * width, (1 - place.y1) * height)
            box += (place.width * width, place.height * height)
            found.append(
                {
                    "box": [round(each, 1) for each in box],
                    "x": list(axes.get_xlim()),
                    "of": axes.get_xlabel() or "epoch",
                    "title": axes.get_title(loc="left"),
                    "curves": curves,
                }
            )
    return found


def to_svg(figure: Figure, description: str) -> Markup:
    """Return a figure as an inline SVG.

    Args:
        figure: The drawing, in the colours of this module.
        description: What a reader who cannot see it is told.
    """
    file = io.StringIO()
    with style():
        settle(figure)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    text = _UNUSED_ID.sub("", text)
    own = hashlib.sha256(f"{description}{text}".encode()).hexdigest()[:6]
    text = re.sub(r'(id="|"#|url\(#)', rf"\1p{own}-", text)  # other drawings have the same ids
    for colour, name in _VARIABLES.items():
        # without the page's style sheet, as in a notebook, texts have the colour of those around
        other = "currentColor" if name in ("ink", "muted") else colour
        text = text.replace(colour, f"var(--{name},{other})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--font)", text)
    size = _ROOT.match(text)
    assert size is not None  # noqa: S101  (matplotlib's own output)
    label, curves = escape(description), escape(json.dumps(curves_of(figure)))
    root = (
        f'<svg class="plot" role="img" aria-label="{label}" data-curves="{curves}" '
        f'viewBox="{size[1]}">'
    )
    return Markup(root + text[size.end() :])  # noqa: S704  (matplotlib has escaped the texts)
