"""``tutelage demo``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from tutelage.cli import options as o
from tutelage.cli.train import LOADING, follow
from tutelage.display.comparison import CompareDisplay
from tutelage.display.formatting import score
from tutelage.display.tables import columns
from tutelage.run.events import Stage
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.demo import DemoResult


def demo(
    epochs: Annotated[
        int | None, o.value("--epochs", "<n>", "Epochs of each student", o.HOW, min=1)
    ] = None,
    seed: Annotated[int, o.value("--seed", "<n>", "Of both students", o.HOW)] = 0,
    train_teacher: Annotated[
        bool, o.switch("--train-teacher", "Train the teacher too", o.HOW)
    ] = False,
    project: Annotated[
        str, o.value("--project --folder", "<folder>", "Parent of the run folders", o.WHERE)
    ] = "runs",
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Distil a small student on built-in data: with and without a teacher, compared."""
    display = DemoDisplay(as_json=json, quiet=quiet)
    with closing(display):
        display.show(LOADING)
        from tutelage.demo import EPOCHS, DemoResult, run_demo
        from tutelage.reports.after_run import with_report

        events = run_demo(
            project=project, epochs=epochs or EPOCHS, seed=seed, train_teacher=train_teacher
        )
        follow(with_report(events, DemoResult), display)


class DemoDisplay(CompareDisplay):
    """Shows the comparison, then the result of the demo."""

    def show(self, event: Any) -> None:
        """Show an event of the comparison or the result."""
        if isinstance(event, Stage):  # before the rest is loaded
            super().show(event)
            return
        from tutelage.demo import DemoResult

        if isinstance(event, DemoResult):
            self.close()
            self.write("outcome", json_values(event), "", *result_lines(event))
        else:
            super().show(event)


def result_lines(result: DemoResult) -> list[str]:
    """Return the result as lines: a table, then the verdict."""
    rows = [["", "AP", "AP50", "parameters", "GFLOPs", "ms/image"]]
    for arm in result.arms:
        cells = [arm.title, score(arm.AP), score(arm.AP50), f"{arm.parameters / 1e6:.2f} M"]
        rows.append([*cells, f"{arm.gflops:.2f}", f"{arm.milliseconds:.1f}"])
    lines = [*columns(rows, left=1), "", result.verdict]
    if result.gap_closed is not None:
        share = f"{100 * result.gap_closed:.0f} %"
        lines.append(f"Share of the gap to the teacher that distillation closed: {share}")
    return [*lines, result.starts]
