"""``tutelage demo``."""

from __future__ import annotations

import json as json_format
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.console import Display, make_display
from tutelage.cli.formatting import score
from tutelage.cli.tables import columns, print_lines
from tutelage.cli.train import follow

if TYPE_CHECKING:
    from tutelage.compare.side_by_side import Outcome


def demo(
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="<n>", min=1, help="Epochs of each student", rich_help_panel=o.HOW
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="<n>", help="Of both students", rich_help_panel=o.HOW)
    ] = 0,
    train_teacher: Annotated[
        bool,
        typer.Option(
            "--train-teacher",
            metavar="",
            help="Train the teacher too",
            rich_help_panel=o.HOW,
            show_default=False,
        ),
    ] = False,
    project: Annotated[
        str,
        typer.Option(
            "--project",
            "--folder",
            metavar="<folder>",
            help="Parent of the run folders",
            rich_help_panel=o.WHERE,
        ),
    ] = "runs",
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Distil a small student on built-in data: with and without a teacher, compared."""
    from tutelage.demo import EPOCHS, run_demo

    events = run_demo(
        project=project, epochs=epochs or EPOCHS, seed=seed, train_teacher=train_teacher
    )
    display = DemoDisplay(make_display(as_json=json, quiet=quiet), as_json=json, quiet=quiet)
    follow(events, display)


class DemoDisplay:
    """Shows the runs as usual, and between and after them the stages and the outcome."""

    def __init__(self, inner: Display, *, as_json: bool, quiet: bool) -> None:
        self._inner, self._json, self._quiet = inner, as_json, quiet
        self._started = time.monotonic()

    def show(self, event: Any) -> None:
        """Show an event, a stage or the outcome."""
        from tutelage.compare.side_by_side import Outcome, Stage
        from tutelage.demo import summary

        match event:
            case Stage():
                self._inner.close()
                self._tell("stage", {"title": event.title}, "", f"— {event.title}", style="bold")
            case Outcome():
                self._inner.close()
                told = summary(event, time.monotonic() - self._started)
                self._tell("outcome", told, "", *outcome_lines(event))
            case _:
                self._inner.show(event)

    def _tell(self, name: str, values: dict[str, Any], *lines: str, style: str = "") -> None:
        if self._json:
            print(json_format.dumps({"event": name, **values}), flush=True)
        elif not self._quiet:
            print_lines(*lines, style=style)

    def close(self) -> None:
        """End the display of the current run."""
        self._inner.close()


def outcome_lines(outcome: Outcome) -> list[str]:
    """Return the comparison as lines: a table, then what it says."""
    rows = [["", "AP", "AP50", "parameters", "GFLOPs", "ms/image"]]
    for arm in outcome.arms:
        size = f"{arm.parameters / 1e6:.2f} M"
        cells = [
            score(arm.scores.AP),
            score(arm.scores.AP50),
            size,
            f"{arm.gflops:.2f}",
            f"{arm.milliseconds:.1f}",
        ]
        rows.append([arm.title, *cells])
    lines = [*columns(rows, left=1), "", outcome.verdict]
    if outcome.gap_closed is not None:
        share = f"{100 * outcome.gap_closed:.0f} %"
        lines.append(f"Share of the gap to the teacher that distillation closed: {share}")
    if outcome.starts:
        lines.append(outcome.starts)
    return lines
