"""``tutelage compare``."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.completion import complete_methods
from tutelage.cli.report import report
from tutelage.cli.train import LOADING, follow
from tutelage.cli.yolo_flags import TranslatedCommand
from tutelage.display.comparison import CompareDisplay
from tutelage.errors import ConfigError, TrainingError
from tutelage.run.events import Notice


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
    from tutelage.api.settings import resolve

    legacy = context.find_object(TranslatedCommand) or TranslatedCommand([], {}, [])
    display = CompareDisplay(as_json=json, quiet=quiet, dry_run=dry_run)
    with closing(display):
        display.show(LOADING)
        resolved, _ = resolve(given, legacy.settings)
        from tutelage.api.compare import with_comparison_report
        from tutelage.comparison.arms import plan_comparison
        from tutelage.comparison.run import run_comparison

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
        events = with_comparison_report(events, comparison)
        follow(events, display, again="The same command continues where it was.")
    if display.failed:
        count, total = len(display.failed), len(comparison.runs())
        raise TrainingError(
            f"{count} of {total} runs failed: {', '.join(display.failed)}.",
            where=str(comparison.folder),
            fix="The same command tries them again.",
            code="R26",
        )
