"""An HTML page about a data set: findings, histograms, images of every class. Self-contained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape as html_escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.data.check.report import DataReport
from tutelage.data.draw_boxes import GREY, colour_of, draw_boxes
from tutelage.data.image import read_image
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import fit_wh, resize
from tutelage.errors import DataError
from tutelage.pages import data_uri, page_style
from tutelage.sanitise import printable

SEVERITIES = ("error", "warning", "info")
_COLOURED = 2  # columns: severity and code
_PICTURES, _PER_CLASS, _SIDE, _QUALITY = 600, 8, 224, 75
_SIZES = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, np.inf)
_RATIOS = (0, 1 / 8, 1 / 4, 1 / 2, 1 / 1.4, 1.4, 2, 4, 8, np.inf)
_PER_IMAGE = (0, 1, 2, 3, 5, 9, 17, 33, 65, np.inf)
_STYLE = """
td,th{text-align:left;vertical-align:top;white-space:normal}
.error{color:var(--error)}.warning{color:var(--note)}.info{color:var(--muted)}
.error,.warning,.info{white-space:nowrap}
figure{display:inline-block;margin:.3em;width:224px;vertical-align:top}
svg{margin:1em 1em 0 0}svg text{font:11px var(--font);fill:var(--ink)}rect{fill:var(--series-1)}
"""


def atlas(report: DataReport, *, image_size: int = 640) -> str:
    """Return the page as HTML; every text of the data set is escaped.

    Args:
        report: The result of the check.
        image_size: Training size at which box sizes are given.
    """
    indices = [opened.index for opened in report.splits]
    body = "".join(
        [
            f"<h1>{_escape(report.data)}</h1>",
            _table(["split", "images", "boxes", *indices[0].names], map(_counts, indices)),
            "<h2>Findings</h2>",
            _findings(report),
            "<h2>Sizes</h2>",
            *_histograms(indices, image_size),
            "<h2>Classes</h2>",
            *_classes(indices),
        ]
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{_escape(report.data)}</title><style>{page_style()}{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _escape(text: str) -> str:
    """Return text escaped for HTML, with line breaks kept."""
    return "<br>".join(html_escape(printable(line)) for line in text.split("\n"))


def _counts(index: DatasetIndex) -> list[str]:
    return [index.split, *map(str, (len(index), len(index.boxes), *index.class_counts.tolist()))]


def _findings(report: DataReport) -> str:
    rows = [
        [
            finding.severity,
            finding.code,
            split or "all",
            str(finding.count),
            "\n".join((finding.message, *finding.examples[1:3], finding.fix)).strip(),
        ]
        for split, finding in sorted(
            report.findings, key=lambda one: SEVERITIES.index(one.finding.severity)
        )
    ]
    return _table(["severity", "code", "split", "count", "what"], rows) if rows else "<p>None.</p>"


def _table(head: Sequence[str], rows: Iterable[list[str]]) -> str:
    cells = "".join(f"<th>{_escape(cell)}</th>" for cell in head)
    lines = [
        "<tr>"
        + "".join(
            f'<td class="{_escape(row[0]) if number < _COLOURED else "text"}">{_escape(cell)}</td>'
            for number, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


def _histograms(indices: Sequence[DatasetIndex], image_size: int) -> Iterator[str]:
    scale = np.concatenate([np.repeat(image_size / i.sizes.max(axis=1), i.counts) for i in indices])
    boxes = np.concatenate([index.boxes for index in indices]).astype(np.float64)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    side = np.sqrt(width * height) * scale
    yield _bars(f"√area of a box in px at {image_size} px", side, _SIZES)
    yield _bars("width / height of a box", width / np.maximum(height, 1e-9), _RATIOS)
    counts = np.concatenate([index.counts for index in indices])
    yield _bars("boxes per image", counts.astype(np.float64), _PER_IMAGE)


def _bars(title: str, values: NDArray[np.float64], edges: Sequence[float]) -> str:
    counts, _ = np.histogram(values, edges)
    most, step, tall = max(int(counts.max()), 1), 44, 120
    parts = [f'<text x="0" y="12">{_escape(title)}</text>']
    for number, count in enumerate(counts.tolist()):
        x, bar = number * step, round(tall * count / most)
        parts.append(f'<rect x="{x + 2}" y="{40 + tall - bar}" width="{step - 4}" height="{bar}"/>')
        parts.append(f'<text x="{x + 2}" y="{36 + tall - bar}">{count}</text>')
        parts.append(f'<text x="{x + 2}" y="{54 + tall}">{edges[number]:.3g}…</text>')
    return f'<svg width="{step * len(counts)}" height="{60 + tall}">{"".join(parts)}</svg>'


def _classes(indices: Sequence[DatasetIndex]) -> Iterator[str]:
    """Yield a heading and sample images per class, evenly spread over those that have it."""
    names = indices[0].names
    each = min(max(_PICTURES // len(names), 1), _PER_CLASS)
    for name in names:
        where = [
            (index, int(position))
            for index in indices
            if name in index.names
            for position in _having(index, index.names.index(name))
        ]
        chosen = [
            where[i] for i in np.linspace(0, len(where) - 1, min(each, len(where))).astype(int)
        ]
        yield f"<h3>{_escape(name)} <small>in {len(where)} images</small></h3>"
        for index, position in chosen:
            yield _figure(index, position, index.names.index(name))


def _having(index: DatasetIndex, label: int) -> NDArray[np.int64]:
    owner = np.repeat(np.arange(len(index)), index.counts)
    return np.unique(owner[index.labels == label])


def _figure(index: DatasetIndex, position: int, label: int) -> str:
    item = index.item(position)
    try:
        image = read_image(item.path, item.size_wh, index.image_range)
    except DataError:
        return ""
    new_wh = fit_wh(item.size_wh, _SIDE)
    corners = item.xyxy * np.tile(np.divide(new_wh, item.size_wh), 2)
    order = np.argsort(item.label != label, kind="stable")  # this class on top
    colours = [colour_of(label) if own else GREY for own in item.label[order] == label]
    drawn = draw_boxes(resize(image, new_wh, smooth=True), corners[order], colours)
    caption = _escape(f"{Path(index.name(position)).name} ({index.split})")
    picture = f'<img alt="" width="{new_wh[0]}" height="{new_wh[1]}" '
    picture += f'src="{data_uri(drawn, _QUALITY)}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
