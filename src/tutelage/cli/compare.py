"""``tutelage compare``."""

from __future__ import annotations

import json as json_format
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.completion import complete_methods
from tutelage.cli.console import Display, make_display
from tutelage.cli.report import report, with_report
from tutelage.cli.tables import columns, print_lines
from tutelage.cli.train import LOADING, follow
from tutelage.cli.yolo_flags import TranslatedCommand
from tutelage.errors import ConfigError, TrainingError
from tutelage.run.events import Notice, Stage
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.comparison.run import ComparisonFinished, ComparisonPlanned, RunStarted


def compare(
    context: typer.Context,
    runs: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    data: o.Data = None,
    cfg: o.Cfg = None,
    weights: o.Weights = None,
    config: o.RunFile = None,
    hyp: o.Hyp = None,
    preset: o.Preset = None,
    single_cls: o.SingleClass = False,
    teacher_weights: o.TeacherWeights = None,
    method: Annotated[
        o.Texts,
        o.value(
            "--method",
            "<spec>",
            "e.g. fgd+bckd (repeatable) [dim]\\[auto][/]",
            o.KD,
            autocompletion=complete_methods,
        ),
    ] = None,
    ratio: Annotated[
        o.Texts, o.value("--ratio", "<x>", "Arms with distill.ratio <x> (repeatable)", o.KD)
    ] = None,
    epochs_share: Annotated[
        o.Text, o.value("--epochs-share", "<x>", "0.6: arms also with 60 % of the epochs", o.KD)
    ] = None,
    student_kd_layers: o.StudentLayers = None,
    teacher_kd_layers: o.TeacherLayers = None,
    seeds: Annotated[
        o.Text, o.value("--seeds", "<n>", "Seeds 0 to n-1 [dim]\\[3][/]", o.HOW)
    ] = None,
    seed_list: Annotated[o.Text, o.value("--seed-list", "<list>", "e.g. 0,1,2")] = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    img_size: o.ImageSize = None,
    device: o.Device = None,
    workers: o.Workers = None,
    precision: o.Precision = None,
    optimizer: o.Optimizer = None,
    freeze: o.Freeze = None,
    patience: o.Patience = None,
    multi_scale: o.MultiScale = False,
    rect: o.Rect = False,
    cache_images: o.CacheImages = False,
    dry_run: Annotated[
        bool, o.switch("--dry-run", "Check everything, list the runs", o.HOW)
    ] = False,
    time: Annotated[bool, o.switch("--time", "Then time steps of all arms in turn", o.HOW)] = False,
    set: o.Sets = None,
    allow_code: o.AllowCode = None,
    project: o.Project = None,
    name: Annotated[
        o.Text,
        o.value(
            "--name",
            "<name>",
            "Folder of the comparison [dim]\\[compare-<data>-<cfg>][/]",
            o.WHERE,
        ),
    ] = None,
    track: o.Track = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train without a teacher and with each method, at equal seeds; or compare RUNs."""
    options = dict(locals())
    if runs:
        own = ("context", "runs", "allow_code", "json", "debug")
        others = [key for key, value in options.items() if value and key not in own]
        if others:
            flags = ", ".join(f"--{key.replace('_', '-')}" for key in others)
            what = f"Finished runs are compared as they are: {flags} would train others"
            fix = f"tutelage report {' '.join(runs)}"
            raise ConfigError(what, fix=fix, code="C31")
        report(runs, allow_code=allow_code, json=json)
        return
    given = {key: value for key, value in options.items() if key not in ("method", "ratio")}
    from tutelage.cli.settings import resolve

    legacy = context.find_object(TranslatedCommand) or TranslatedCommand([], {}, [])
    display = CompareDisplay(as_json=json, quiet=quiet, dry_run=dry_run)
    with closing(display):
        display.show(LOADING)
        resolved, _ = resolve(given, legacy.settings)
        from tutelage.comparison.arms import plan_comparison
        from tutelage.comparison.run import ComparisonFinished, run_comparison
        from tutelage.setup.named_code import names_of_code
        from tutelage.trackers import with_tracked_report

        comparison = plan_comparison(
            resolved.config,
            methods=method or (),
            ratios=ratio or (),
            epochs_share=epochs_share,
            seeds=seeds,
            seed_list=seed_list,
        )
        for notice in (*legacy.notices, *resolved.notices):
            display.show(Notice("info", notice))
        events = run_comparison(
            comparison,
            origins=resolved.origins,
            command_line=" ".join(["tutelage", *sys.argv[1:]]),
            dry_run=dry_run,
            time=time,
        )
        if resolved.config.run.report:
            events = with_report(events, ComparisonFinished, names_of_code(comparison.config))
        events = with_tracked_report(events, ComparisonFinished, comparison.config)
        follow(events, display, again="The same command continues where it was.")
    if display.failed:
        count, total = len(display.failed), len(comparison.runs())
        raise TrainingError(
            f"{count} of {total} runs failed: {', '.join(display.failed)}.",
            where=str(comparison.folder),
            fix="The same command tries them again.",
            code="R26",
        )


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
