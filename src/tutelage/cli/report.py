"""``tutelage report``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.display.tables import columns, make_progress, print_result
from tutelage.errors import ConfigError
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.reports import Report


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", help="Folders of runs or comparisons; the baseline first"),
    ] = None,
    to: Annotated[
        str | None,
        o.value("--to", "<file>", "The page [dim]\\[report.html in the last folder][/]", o.WHERE),
    ] = None,
    allow_code: o.AllowCode = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Compare finished runs: what differs, by how much, how sure that is; a page to look at."""
    if not runs:
        raise ConfigError(
            "No run is given.", fix="tutelage report runs/baseline runs/distilled", code="C26"
        )
    with make_progress() as progress:
        progress.add_task("evaluating", total=None)
        from tutelage.reports import write_report

        done = write_report(runs, to, allow_code=allow_code or ())
    values = {"report": str(done.path), "verdict": done.verdict, "notes": done.notes}
    print_result(
        {**values, "arms": json_values(done.results.rows)}, report_lines(done), as_json=json
    )


def report_lines(done: Report) -> list[str]:
    """Return a table of the arms if they could be compared, the verdict, the notes, the file."""
    from tutelage.reports.sections import comparison_cells

    cells = comparison_cells(done.results)
    lines = [*columns(cells, left=(0, len(cells[0]) - 1)), ""] if cells else []
    return [*lines, *done.verdict, *done.notes, f"Report: {done.path}"]
