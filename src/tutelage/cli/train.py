"""``tutelage train``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from tutelage.cli import options as o
from tutelage.cli.error_messages import Interrupted, RunError
from tutelage.cli.multi_process import launch, launched
from tutelage.cli.repeat_warnings import repeat_warnings
from tutelage.cli.sigterm import sender, sigterm_as_interrupt
from tutelage.cli.yolo_flags import TranslatedCommand
from tutelage.display.console import Display, make_display
from tutelage.errors import UserError
from tutelage.run.events import Stage

LOADING = Stage("loading PyTorch")


def train(
    context: typer.Context,
    data: o.Data = None,
    cfg: o.Cfg = None,
    weights: o.Weights = None,
    config: o.RunFile = None,
    hyp: o.Hyp = None,
    preset: o.Preset = None,
    single_cls: o.SingleClass = False,
    teacher_weights: o.TeacherWeights = None,
    method: o.Methods = None,
    ratio: o.Ratio = None,
    student_kd_layers: o.StudentLayers = None,
    teacher_kd_layers: o.TeacherLayers = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    img_size: o.ImageSize = None,
    device: o.Device = None,
    devices: o.Devices = None,
    workers: o.Workers = None,
    seed: o.Seed = None,
    precision: o.Precision = None,
    optimizer: o.Optimizer = None,
    freeze: o.Freeze = None,
    patience: o.Patience = None,
    multi_scale: o.MultiScale = False,
    rect: o.Rect = False,
    cache_images: o.CacheImages = False,
    resume: o.Resume = None,
    dry_run: o.DryRun = False,
    set: o.Sets = None,
    allow_code: o.AllowCode = None,
    project: o.Project = None,
    name: o.Name = None,
    exist_ok: o.ExistOk = False,
    track: o.Track = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train a detector. Give it a teacher and it is distilled."""
    given = locals()
    display = make_display(as_json=json, quiet=quiet)
    if devices is not None and not launched():
        launch(devices, sys.argv[1:], display)
    from tutelage.api.settings import resolve

    legacy = context.find_object(TranslatedCommand) or TranslatedCommand([], {}, [])
    with closing(display):
        display.show(LOADING)
        resolved, folder = resolve(given, legacy.settings)
        from tutelage.api.train import training_events

        events = training_events(
            resolved,
            resume=folder,
            dry_run=dry_run,
            notices=legacy.notices,
            command_line=" ".join(["tutelage", *sys.argv[1:]]),
        )
        follow(
            events if json else repeat_warnings(events),
            display,
            dry_run=dry_run,
            folder=folder or "",
        )


def follow(
    events: Iterator[Any],
    display: Display,
    *,
    dry_run: bool = False,
    folder: str = "",
    again: str = "",
) -> None:
    """Show the events of a run; if it is stopped, report how to continue.

    Args:
        events: The events of the run.
        display: The display.
        dry_run: Whether the run ends after its first step.
        folder: The folder of a resumed run.
        again: How to continue after Ctrl-C, if not by ``train --resume``.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
        RunError: An unexpected error after the run folder was made; the cause is chained.
        UserError: An error that the user can fix.
    """
    from tutelage.run.events import Notice, Planned, StepDone
    from tutelage.run.interrupt import RunInterrupted

    place = ""
    try:
        with sigterm_as_interrupt():
            for event in events:
                display.show(event)
                if isinstance(event, Planned):
                    folder = event.folder
                elif isinstance(event, StepDone):
                    place = f"epoch {event.epoch + 1} step {event.step}"
        if dry_run:
            display.show(
                Notice("info", f"Dry run: everything was built and one step was run; see {folder}.")
            )
    except KeyboardInterrupt as stop:
        display.close()
        if isinstance(stop, RunInterrupted):
            place = f"{stop.position.in_words()}; saved"
        raise _interrupted(folder, place, again, sender(stop)) from None
    except UserError:
        raise
    except Exception as error:
        raise RunError(folder) from error
    finally:
        display.close()


def _interrupted(folder: str, place: str, again: str, who: str) -> Interrupted:
    what = f"Stopped by {who}{f' after {place}' if place else ' before the first step'}."
    if again:
        return Interrupted(what, fix=again)
    if folder and (Path(folder) / "last.pt").exists():
        where = "exactly where it stopped" if place.endswith("saved") else "from the last save"
        return Interrupted(what, fix=f"Continue {where}:  tutelage train --resume {folder}")
    return Interrupted(what, fix="Nothing was saved yet.")
