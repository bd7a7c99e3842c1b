"""``tutelage report``, and the report at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.tables import columns, make_progress, print_result
from tutelage.errors import ConfigError, UserError
from tutelage.run.events import Notice, Stage
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.cli.console import Display
    from tutelage.config import Config
    from tutelage.report import Report

WRITING = Stage("writing the report")


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
        from tutelage.report import write_report

        done = write_report(runs, to, allowed=allow_code or ())
    values = {"report": str(done.path), "verdict": done.verdict, "notes": done.notes}
    print_result(
        {**values, "arms": json_values(done.results.rows)}, report_lines(done), as_json=json
    )


def report_lines(done: Report) -> list[str]:
    """Return a table of the arms if they could be compared, the verdict, the notes, the file."""
    from tutelage.report.sections import comparison_cells

    cells = comparison_cells(done.results)
    lines = [*columns(cells, left=(0, len(cells[0]) - 1)), ""] if cells else []
    return [*lines, *done.verdict, *done.notes, f"Report: {done.path}"]


def report_after(folder: str, display: Display, config: Config | None = None) -> None:
    """Write the report of a finished run or comparison; if that fails, the run still stands.

    Args:
        folder: Its folder.
        display: Where it is told.
        config: Its settings; the code that they name has been imported already.
    """
    from tutelage.report import write_report
    from tutelage.setup.named_code import named_code

    display.show(WRITING)
    allowed = [code.name for code in named_code(config)] if config is not None else []
    try:
        path = write_report([folder], allowed=allowed).path
    except (UserError, OSError) as error:
        display.show(Notice("warning", f"No report was written: {error}", "R39"))
    else:
        display.show(Notice("info", f"Report: {path}"))
