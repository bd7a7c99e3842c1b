"""The report of runs as one HTML page that opens offline, and pictures for those who only look."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from tutelage.files import atomic_write, atomic_write_text
from tutelage.pages import page_style
from tutelage.reports import charts
from tutelage.reports.results import Results, collect_results
from tutelage.reports.runs import find_runs
from tutelage.reports.sections import first_runs, sections_of, title_of, verdict_of
from tutelage.reports.svg import series_colour, settle, style
from tutelage.sanitise import printable
from tutelage.version import __version__

FILE = "report.html"
DPI = 144


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        path: The page.
        verdict: What it has found, in sentences.
        notes: What could not be compared or shown, and why.
        results: What it shows.
    """

    path: Path
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
    results: Results

    def __repr__(self) -> str:
        """Return its path and what it has found."""
        return f"Report({str(self.path)!r}{''.join(f', {text}' for text in self.verdict)})"


def write_report(
    runs: Sequence[str | os.PathLike[str]],
    to: str | Path | None = None,
    *,
    allow_code: Collection[str] = (),
) -> Report:
    """Write the report of runs, the first one the baseline.

    Args:
        runs: Folders of runs and comparisons.
        to: The file; None: ``report.html`` in the last folder. ``results.png``, ``pr.png`` and
            ``confusion.png`` are written beside it.
        allow_code: Methods and teachers that are code of the user's own, as ``my_kd:Mine``, and
            may be imported. Without it their pictures are missing.

    Raises:
        ConfigError: A folder is neither a run nor a comparison, or its settings cannot be read.
        OSError: The file cannot be written.
    """
    results = collect_results(find_runs(runs, allow_code))
    path = Path(to) if to is not None else Path(runs[-1]) / FILE
    atomic_write_text(path, render(results))
    for name, figure in static_pictures(results):
        write_png(path.with_name(name), figure)
    return Report(path, verdict_of(results), results.notes, results)


def render(results: Results) -> str:
    """Return the page; texts of runs and data are escaped."""
    folder = files("tutelage.reports") / "templates"
    template, css, script = (
        (folder / f"report.{suffix}").read_text("utf-8") for suffix in ("html", "css", "js")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        title=printable(title_of(results)),
        version=__version__,
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
        verdict=[printable(sentence) for sentence in verdict_of(results)],
        notes=[printable(note) for note in results.notes],
        sections=[section for section in sections_of(results) if section.parts],
        style=Markup(page_style() + css),  # noqa: S704  (these two are our own)
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def static_pictures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Yield the pictures beside the page, with the names of their files."""
    named = first_runs(results)
    if any(run.evaluated for arm in results.arms for run in arm.runs):
        yield "results.png", charts.ap_curves(results.arms, results.teacher_on_val)
    if named:
        name, found = named[-1]
        yield "pr.png", charts.precision_recall(named, results.teacher)
        yield "confusion.png", charts.confusion(found, name, series_colour(len(named) - 1))


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, in one step."""
    with style():
        settle(figure)
        atomic_write(
            path,
            lambda file: figure.savefig(file, format="png", dpi=DPI, facecolor="white"),
        )
