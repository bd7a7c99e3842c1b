"""One training run from settings to files, as a generator of events."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch

from tutelage.config.schema import Config
from tutelage.data.findings import code_of
from tutelage.run.auto_batch import fit_batch
from tutelage.run.checkpoint import restore
from tutelage.run.events import Event, Notice, Planned, Stage, StepDone
from tutelage.run.folder import lock_folder, name_taken, new_run_folder
from tutelage.run.kd_weights import WeightMeasurements
from tutelage.run.monitors.monitor import monitor_events
from tutelage.run.out_of_memory import MemoryContext, explain_out_of_memory
from tutelage.run.preflight.before_training import check_distillation
from tutelage.run.preflight.teacher_runtime import choose_runtimes
from tutelage.run.preflight.warnings import check_setup
from tutelage.run.resume import (
    check_data,
    check_teachers,
    describe_resume,
    load_unfinished,
    suggest_moved_files,
)
from tutelage.run.stored_answers import store_folders
from tutelage.run.summary import data_warnings, plan_rows
from tutelage.run.training import TrainingRun
from tutelage.setup.build import build_run
from tutelage.training.schedule import Position


def run_training(
    config: Config,
    *,
    origins: Mapping[str, str] | None = None,
    resume: str | None = None,
    dry_run: bool = False,
    notices: Sequence[str] = (),
    command_line: str = "",
) -> Generator[Event, None, None]:
    """Train as ``config`` says and write the run folder.

    Args:
        config: All settings.
        origins: Where each setting came from, for ``config.yaml``, the plan and messages.
        resume: A run folder to continue; ``config`` must be the one stored there.
        dry_run: Build everything, run all checks, take one step, stop.
        notices: Lines to show first, e.g. of the settings' loader.
        command_line: For ``environment.txt``.

    Yields:
        Events, see :mod:`tutelage.run.events`.

    Raises:
        UserError: Anything the user can mend.
        RunInterrupted: The run was stopped by Ctrl-C or SIGTERM, after a save.
    """
    if config.train.batch == "auto":
        yield Stage("finding the largest batch")
    batch = fit_batch(config, origins)
    context = MemoryContext(batch.config)
    notices = (*notices, *batch.notices)
    with explain_out_of_memory(context):
        for event in _events(context, batch.origins, resume, dry_run, notices, command_line):
            if isinstance(event, StepDone):
                context.position = Position(event.epoch, event.step)
            yield event


def _events(
    context: MemoryContext,
    origins: Mapping[str, str],
    resume: str | None,
    dry_run: bool,
    notices: Sequence[str],
    command_line: str,
) -> Iterator[Event]:
    started, config = time.monotonic(), context.config
    checkpoint = None
    if resume:
        checkpoint, config = load_unfinished(resume, config)
    progress = checkpoint.progress if checkpoint else None
    if progress:
        torch.set_num_threads(progress.threads)
    yield from (Notice("info", text) for text in notices)
    yield Stage("opening data and networks")
    with suggest_moved_files(config, resume):
        student_origin = progress.student_origin if progress else None
        parts = context.parts = build_run(
            config,
            origins,
            student_origin=student_origin,
            stores=True,
            view_count=progress.views if progress else None,
            flips=progress.flips if progress else None,
            precision=progress.precision if progress else None,
        )
    yield from (Notice("warning", each.message, code_of(each)) for each in data_warnings(parts))
    yield from (Notice("info", text) for text in parts.notices)
    position = Position()
    if resume and checkpoint and progress:
        check_teachers(progress, parts.teacher_records, resume)
        check_data(progress, parts, resume)
        position = restore(checkpoint, parts, Path(resume) / "last.pt")
        checkpoint = None  # frees as much memory as the run itself takes
        texts = describe_resume(progress, position, parts.accelerator.num_processes)
        yield from (Notice("info", text) for text in texts)
    weights = WeightMeasurements(parts, progress.readings if progress else (), position)
    begun = time.monotonic()
    yield from choose_runtimes(parts, weights.batches, progress.runtimes if progress else ())
    yield from check_distillation(parts, weights, position)
    checking = time.monotonic() - begun
    folder = Path(resume) if resume else new_run_folder(parts, dry_run=dry_run)
    if not resume and (text := name_taken(config, folder)):
        yield Notice("warning", text, "R38")
    run = TrainingRun(parts, origins, folder, weights, position, progress)
    if parts.distillation is not None and not resume:
        run.spend("checking_seconds", checking)
    with lock_folder(folder, writes=parts.accelerator.is_main_process):
        run.write_first_files(command_line, resumed=bool(resume))
        context.position = position
        rows = plan_rows(parts, origins, str(folder))
        stores = store_folders(parts)
        planned = time.monotonic()
        yield Planned(rows, str(folder), config.train.epochs, parts.schedule.steps, stores)
        run.epoch_started += time.monotonic() - planned  # that was the time of others
        yield from check_setup(parts, weights.batches)
        events = monitor_events(run.train(started), parts)
        yield from islice(events, 1) if dry_run else events
