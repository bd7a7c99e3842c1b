"""The display of a comparison: the list of runs, each run under a header, then the table."""

from __future__ import annotations

import json as json_format
from collections import Counter
from typing import TYPE_CHECKING, Any

from tutelage.display.console import Display, make_display
from tutelage.display.tables import columns, print_lines
from tutelage.run.events import Notice, Stage
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.comparison.run import ComparisonFinished, ComparisonPlanned, RunStarted


class CompareDisplay(Display):
    """Shows the list of runs, each run under a header, then the table."""

    def __init__(self, *, as_json: bool, quiet: bool, dry_run: bool = False) -> None:
        self._inner = make_display(as_json=as_json, quiet=quiet)
        self._json, self._quiet, self._dry = as_json, quiet, dry_run
        self.failed: dict[str, str] = {}

    def show(self, event: Any) -> None:
        """Show an event of the comparison or of one of its runs."""
        if isinstance(event, Stage | Notice):  # before the rest is loaded
            self._inner.show(event)
            return
        from tutelage.comparison import run as r

        if isinstance(
            event, r.ComparisonPlanned | r.RunStarted | r.RunFailed | r.ComparisonFinished
        ):
            self.close()
        match event:
            case r.ComparisonPlanned():
                self.write("plan_of_runs", plan_values(event), *plan_lines(event, self._dry))
            case r.RunStarted():
                self.write("run", event._asdict(), "", header(event), style="bold")
            case r.RunFailed():
                line = f"failed: {event.message}"
                self.write("run_failed", event._asdict(), line, style="red")
            case r.ComparisonFinished():
                self.failed = event.failed
                self.write("compared", json_values(event), "", *result_lines(event))
            case _:
                self._inner.show(event)

    def write(self, name: str, values: dict[str, Any], *lines: str, style: str = "") -> None:
        """Print a JSON object with ``--json``, else lines."""
        if self._json:
            print(json_format.dumps({"event": name, **values}, ensure_ascii=False), flush=True)
        elif not self._quiet:
            print_lines(*lines, style=style)

    def close(self) -> None:
        """End the display of the current run."""
        self._inner.close()


def header(event: RunStarted) -> str:
    """Return the line above a run: ``run 3 of 12: fgd, seed 1``."""
    state = "" if event.state == "new" else f" ({event.state})"
    return f"— run {event.number} of {event.total}: {event.arm}, seed {event.seed}{state}"


def plan_values(event: ComparisonPlanned) -> dict[str, Any]:
    """Return the list of runs as plain values."""
    rows: list[dict[str, Any]] = []
    for run, state in event.runs:
        values = {"arm": run.arm.name, "seed": run.seed, "folder": str(run.folder)}
        rows.append(values | {"epochs": run.config.train.epochs, "state": state})
    return {"folder": event.folder, "runs": rows}


def plan_lines(event: ComparisonPlanned, whole: bool) -> list[str]:
    """Return the number of runs as a line, and with ``whole`` a table of all runs."""
    counts = Counter(state for _, state in event.runs)
    arms = len({run.arm.name for run, _ in event.runs})
    words = {"finished": "finished", "resumed": "to resume", "new": "to train"}
    states = ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state])
    seeds = len(event.runs) // arms
    head = f"{event.folder}: {arms} arms × {seeds} seed{'s' * (seeds > 1)}, {states}"
    if not whole:
        return [head]
    rows = [["folder", "methods", "ratio", "epochs", "seed", "state"]]
    for run, state in event.runs:
        wanted = run.config.distill.ratio
        ratio = f"{wanted:g}" if wanted and run.arm.methods else ""
        epochs = str(run.config.train.epochs)
        methods = run.arm.methods or "none"
        rows.append([run.folder.name, methods, ratio, epochs, str(run.seed), words[state]])
    return [head, *columns(rows, left=(0, 1, 5))]


def result_lines(event: ComparisonFinished) -> list[str]:
    """Return the result as lines: a table, a sentence for each row, its classes, and notes."""
    from tutelage.comparison.class_scores import class_lines
    from tutelage.comparison.table import HEAD, table_cells

    table = columns(table_cells(event.rows, event.teachers), left=(0, len(HEAD) - 1))
    sentences = [row.sentence for row in event.rows if row.sentence]
    sentences += class_lines(event.rows)
    gap = [""] if sentences else []
    return [*table, "", *sentences, *gap, *event.notes, f"Results: {event.folder}"]
