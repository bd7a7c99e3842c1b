"""The drawings of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tutelage.reports.results import Evaluated, ReportArm, mean_curve
from tutelage.reports.svg import INK, MUTED, TEACHER, empty_figure, series_colour, style

ERRORS = {
    "Cls": "class",
    "Loc": "place",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
CLASSES_SHOWN = 40
WIDE, HALF = 5.2, 3.6  # inches
Named = Sequence[tuple[str, Evaluated]]


def ap_curves(arms: Sequence[ReportArm], teacher_ap: float | None) -> Figure:
    """Draw AP on val by epoch: a line per run, thicker the mean of each arm."""
    with style():
        figure = empty_figure(WIDE, 2.7)
        axes = figure.subplots()
        for number, arm in enumerate(arms):
            colour = series_colour(number)
            if len(arm.runs) > 1:
                for run in arm.runs:
                    if run.evaluated:
                        axes.plot(*np.array(run.evaluated).T, color=colour, lw=0.7, alpha=0.5)
            curve = mean_curve(arm)
            if curve:
                epochs, values = np.array(curve).T
                axes.plot(epochs, values, color=colour, lw=2, marker="o", ms=3, label=arm.name)
        if teacher_ap is not None:
            axes.axhline(teacher_ap, color=TEACHER, ls="--", lw=1.2, label="teacher")
        axes.set(xlabel="epoch", ylabel="AP on val", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)
    return figure


def loss_curves(arms: Sequence[ReportArm], *, log: bool = False) -> Figure | None:
    """Draw every loss term and the learning rate by epoch, a panel each; None without any.

    Args:
        arms: The first run of each is drawn.
        log: On a logarithmic scale, which leaves out what is not above 0.
    """
    names = list(dict.fromkeys(name for arm in arms for name in loss_names(arm.runs[0].rows)))
    if not names:
        return None
    columns = 2
    lines = -(-len(names) // columns)
    with style():
        figure = empty_figure(WIDE, 1.5 * lines)
        panels = figure.subplots(lines, columns, squeeze=False).flat
        for name, axes in zip(names, panels, strict=False):
            for number, arm in enumerate(arms):
                points = [
                    (row["epoch"], row[name])
                    for row in arm.runs[0].rows
                    if isinstance(row.get(name), int | float) and (not log or row[name] > 0)
                ]
                if points:
                    colour = series_colour(number)
                    axes.plot(*np.array(points, float).T, color=colour, lw=1.4, label=arm.name)
            axes.set_title(name)
            if log and axes.lines:
                axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in list(figure.axes)[len(names) :]:
            axes.set_axis_off()
    return figure


def loss_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the loss terms among the columns of a metrics file, then the learning rate."""
    return [
        name
        for name in (rows[0] if rows else {})
        if name in ("box", "obj", "cls", "dfl", "lr") or "/" in name
    ]


def class_dumbbells(arms: Named, teacher: Evaluated | None) -> tuple[Figure, int] | None:
    """Draw AP of each class of the first and the last arm, by gain; None for no class.

    Returns:
        The figure, and how many classes it leaves out.
    """
    first, last = arms[0][1].scores.per_class, arms[-1][1].scores.per_class
    names = [name for name, each in first.items() if np.isfinite(each.AP) and name in last]
    if not names:
        return None
    names.sort(key=lambda name: last[name].AP - first[name].AP)
    left_out = max(len(names) - CLASSES_SHOWN, 0)
    if left_out:
        half = CLASSES_SHOWN // 2
        names = [*names[:half], *names[-half:]]
    with style():
        figure = empty_figure(WIDE, 0.9 + 0.24 * len(names))
        axes = figure.subplots()
        places = np.arange(len(names))
        start, end = ([scores[name].AP for name in names] for scores in (first, last))
        if len(arms) > 1:
            axes.hlines(places, start, end, color=MUTED, lw=1.5)
        for number, (label, found) in enumerate(arms):
            values = [found.scores.per_class[name].AP for name in names]
            axes.plot(values, places, "o", ms=6, color=series_colour(number), label=label)
        if teacher is not None:
            known = teacher.scores.per_class
            values = [known[name].AP if name in known else np.nan for name in names]
            axes.plot(values, places, "|", ms=11, mew=2, color=TEACHER, label="teacher")
        axes.set_yticks(places, [f"{name} ({first[name].instances})" for name in names])
        axes.set(xlabel="AP (objects in brackets)", xlim=(0, None), ylim=(-0.7, len(names) - 0.3))
        _legend(axes)
    return figure, left_out


def error_bars(arms: Named, teacher: Evaluated | None) -> Figure:
    """Draw what each kind of error costs in AP50 (TIDE)."""
    bars = [*arms, *([("teacher", teacher)] if teacher is not None else [])]
    with style():
        figure = empty_figure(WIDE, 2.5)
        axes = figure.subplots()
        width = 0.8 / len(bars)
        for number, (label, found) in enumerate(bars):
            costs = found.scores.diagnostics["tide"]["cost"]
            places = np.arange(len(ERRORS)) + (number - (len(bars) - 1) / 2) * width
            colour = TEACHER if label == "teacher" else series_colour(number)
            values = [100 * (costs.get(kind) or 0.0) for kind in ERRORS]
            axes.bar(places, values, 0.9 * width, color=colour, label=label)
        axes.set_xticks(range(len(ERRORS)), list(ERRORS.values()))
        axes.set(ylabel="points of AP50 lost")
        axes.grid(visible=False, axis="x")
        _legend(axes)
    return figure


def precision_recall(arms: Named, teacher: Evaluated | None) -> Figure:
    """Draw precision by recall at IoU 0.5, the mean over classes."""
    with style():
        figure = empty_figure(HALF, 3.0)
        axes = figure.subplots()
        for number, (label, found) in enumerate(arms):
            _curve(axes, found, series_colour(number), label, "-")
        if teacher is not None:
            _curve(axes, teacher, TEACHER, "teacher", "--")
        axes.set(xlabel="recall", ylabel="precision (IoU 0.5)", xlim=(0, 1), ylim=(0, 1.02))
        _legend(axes)
    return figure


def _curve(axes: Axes, found: Evaluated, colour: str, label: str, line: str) -> None:
    curves = found.scores.diagnostics["curves"]
    values = curves["precision"].get("0.50", [])
    if len(values) == len(curves["recall"]):
        axes.plot(curves["recall"], values, color=colour, ls=line, lw=1.8, label=label)


def f1_by_confidence(arms: Named, teacher: Evaluated | None) -> Figure:
    """Draw the mean F1 over classes by the score from which on detections count, at IoU 0.5."""
    with style():
        figure = empty_figure(HALF, 3.0)
        axes = figure.subplots()
        found = [*arms, *([("teacher", teacher)] if teacher is not None else [])]
        for number, (label, each) in enumerate(found):
            known = each.scores.diagnostics["confidence"]
            colour = TEACHER if label == "teacher" else series_colour(number)
            line = "--" if label == "teacher" else "-"
            values = known["curves"]["f1"]
            axes.plot(known["thresholds"], values, color=colour, ls=line, lw=1.8, label=label)
            if known["threshold"] is not None:
                axes.plot(known["threshold"], known["f1"], "o", color=colour, ms=5)
        axes.set(xlabel="least score", ylabel="F1 (IoU 0.5)", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def confusion(found: Evaluated, title: str, colour: str) -> Figure:
    """Draw the confusion matrix as shares of each true class (rows)."""
    known = found.scores.diagnostics["confusion"]
    names: list[str] = known["names"]
    counts: NDArray[np.float64] = np.array(known["counts"], np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(1.3 + 0.32 * len(names), 7.0)
    with style():
        figure = empty_figure(side + 0.4, side)
        axes = figure.subplots()
        axes.grid(visible=False)
        rows, columns = np.nonzero(counts)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            share = float(shares[row, column])
            square = (column - 0.5, row - 0.5)
            axes.add_patch(_square(square, colour, share))
            if len(names) <= 21:
                text = f"{counts[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=INK)
        ticks = range(len(names)) if len(names) <= 41 else []
        axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90)
        axes.set_yticks(ticks, [names[i] for i in ticks])
        axes.set(xlabel="predicted", ylabel="true", title=title)
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    return figure


def _square(corner: tuple[float, float], colour: str, share: float) -> Rectangle:
    # at most half opaque, so that the number on it is read in light and dark
    return Rectangle(corner, 1, 1, facecolor=colour, alpha=0.5 * share, edgecolor="none")


def histogram(values: NDArray[np.float64], edges: Sequence[float], label: str) -> Figure:
    """Draw counts between edges, as bars of equal width."""
    counts, _ = np.histogram(values, edges)
    with style():
        figure = empty_figure(HALF, 2.2)
        axes = figure.subplots()
        axes.bar(range(len(counts)), counts, color=series_colour(1), width=0.85)
        axes.set_xticks(range(len(counts)), [f"{edge:.3g}…" for edge in edges[:-1]], rotation=45)
        axes.set(xlabel=label, ylabel="objects")
        axes.grid(visible=False, axis="x")
    return figure


def class_counts(names: Sequence[str], counts: NDArray[np.int64]) -> Figure:
    """Draw the number of objects of each class, the most frequent first."""
    order = np.argsort(-counts, kind="stable")[:CLASSES_SHOWN]
    with style():
        figure = empty_figure(HALF, max(2.2, 0.7 + 0.2 * len(order)))
        axes = figure.subplots()
        places = np.arange(len(order))[::-1]
        axes.barh(places, counts[order], color=series_colour(1), height=0.75)
        axes.set_yticks(places, [str(names[i]) for i in order.tolist()])
        axes.set(xlabel="objects")
        axes.grid(visible=False, axis="y")
    return figure


def _legend(axes: Axes) -> None:
    """Put a legend above the drawing, where it hides nothing."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, handlelength=1.4)
