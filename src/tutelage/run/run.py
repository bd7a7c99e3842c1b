"""One training run from settings to files, as a generator of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import broadcast_object_list, gather_object

from tutelage.config.load import dump
from tutelage.config.schema import Config
from tutelage.data.findings import code_of
from tutelage.evaluation import Scores
from tutelage.models.graph import GraphDetector
from tutelage.run.auto_batch import fit_batch
from tutelage.run.events import EpochDone, Evaluated, Event, Finished, Notice, Planned, StepDone
from tutelage.run.folder import (
    Metrics,
    clear_leftovers,
    environment,
    held,
    new_folder,
    unwritable,
    write_if_new,
    write_json,
)
from tutelage.run.interrupt import InterruptHandler, RunInterrupted, SaveTimer
from tutelage.run.kd_weights import SHOWN, WeightMeasurements
from tutelage.run.monitors.watch import watched
from tutelage.run.observers import CHECK_EVERY, EarlyStopping, FiniteGuard, LossMeans, shared
from tutelage.run.out_of_memory import MemoryContext, told_when_out
from tutelage.run.preflight.before_training import prepare, scores_on_val
from tutelage.run.preflight.warnings import at_outset
from tutelage.run.resume import (
    check_data,
    check_settings,
    check_teachers,
    check_unfinished,
    data_of,
    goes_on,
    identity,
    moved,
    records,
)
from tutelage.run.sample_images import save_batch, save_detections
from tutelage.run.state import header, read_state, restore, save_state
from tutelage.run.summary import data_warnings, plan_rows
from tutelage.setup.build import RunParts, assemble
from tutelage.setup.student import StudentOrigin
from tutelage.setup.unlabelled import files_of
from tutelage.train.loop import EpochEnded, fit, multi_scale
from tutelage.train.schedule import Position
from tutelage.weights.store import atomic_write_text, save_best

HEADLINE = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def run_training(
    config: Config,
    *,
    origins: Mapping[str, str] | None = None,
    resume: str | None = None,
    dry_run: bool = False,
    notices: Sequence[str] = (),
    command_line: str = "",
) -> Iterator[Event]:
    """Train as ``config`` says and write the run folder.

    Args:
        config: All settings.
        origins: Where each setting came from, for ``config.yaml``, the plan and messages.
        resume: A run folder to continue; ``config`` must be the one stored there.
        dry_run: Build everything, prove the wiring, take one step, stop.
        notices: Lines to show and keep, e.g. of the settings' loader.
        command_line: For ``environment.txt``.

    Yields:
        What happens, see :mod:`tutelage.run.events`.

    Raises:
        UserError: Anything the user can mend.
    """
    fitted = fit_batch(config, origins)
    use = MemoryContext(fitted.config)
    told = (*notices, *fitted.told)
    with told_when_out(use):
        for event in _events(use, fitted.origins, resume, dry_run, told, command_line):
            if isinstance(event, StepDone):
                use.at = Position(event.epoch, event.step)
            yield event


def _events(
    use: MemoryContext,
    origins: Mapping[str, str],
    resume: str | None,
    dry_run: bool,
    notices: Sequence[str],
    command_line: str,
) -> Iterator[Event]:
    started, config = time.monotonic(), use.config
    saved = read_state(Path(resume) / "last.pt") if resume else None
    if saved is not None:
        check_settings(saved, config, Path(str(resume)) / "last.pt")
        check_unfinished(saved, config, str(resume))
        torch.set_num_threads(saved["progress"]["threads"])
    yield from (Notice("info", text) for text in notices)
    began = StudentOrigin.read(saved["progress"]) if saved is not None else None
    with moved(config, resume):
        parts = use.parts = assemble(config, origins, began=began)
    yield from (Notice("warning", each.message, code_of(each)) for each in data_warnings(parts))
    yield from (Notice("info", text) for text in parts.notices)
    at, progress = Position(), None
    if saved is not None:
        progress = saved["progress"]
        check_teachers(progress, records(parts), str(resume))
        check_data(progress, parts, str(resume))
        at = restore(
            saved,
            accelerator=parts.accelerator,
            task=parts.task,
            optimizer=parts.optimizer,
            ema=parts.ema,
            path=Path(str(resume)) / "last.pt",
        )
        saved = None  # as large as the run itself
        yield from (Notice("info", text) for text in goes_on(progress, at, parts))
    readings = WeightMeasurements(parts, progress["readings"] if progress else (), at)
    yield from prepare(parts, readings, at)
    folder = Path(resume) if resume else new_folder(parts, reuse=not dry_run)
    run = _Run(parts, origins, folder, readings, at, progress)
    with held(folder, alone=parts.accelerator.is_main_process):
        run.begin(command_line, resumed=bool(resume))
        use.at = at
        yield run.planned()
        yield from at_outset(parts, readings.batches)
        events = watched(run.train(started), parts)
        yield from islice(events, 1) if dry_run else events


class _Run:
    """The parts of one run, its progress and its files."""

    def __init__(
        self,
        parts: RunParts,
        origins: Mapping[str, str],
        folder: Path,
        readings: WeightMeasurements,
        at: Position,
        progress: Mapping[str, Any] | None,
    ) -> None:
        self.parts, self.config, self.origins = parts, parts.config, origins
        self.folder, self.readings, self.at = folder, readings, at
        self.records = records(parts)
        self.config_text = dump(self.config, origins)
        self.best, self.means = EarlyStopping(self.config.train.patience), LossMeans()
        self.saved: Position | None = None
        self.interval = SaveTimer(self.config.train.save_minutes)
        on_cpu = parts.accelerator.device.type == "cpu"
        self.guard = FiniteGuard(
            str(folder), 1 if on_cpu else CHECK_EVERY, files_of(parts.train, parts.unlabelled)
        )
        if progress is not None:
            self.best.value, self.best.epoch = progress["best"], progress["best_epoch"]
            self.best.scores = dict(progress["best_scores"])
            self.saved = self.guard.saved = at
            self.guard.best = self.best.epoch
            if "means" in progress:
                self.means.restore(progress["means"])
        self.begun = time.monotonic() - (progress or {}).get("seconds", 0.0)  # the epoch was

    def begin(self, command: str, *, resumed: bool) -> None:
        """Write what is known before the first step.

        Raises:
            TrainingError: It cannot be written.
        """
        if not self.parts.accelerator.is_main_process:
            return
        with self._writing():
            clear_leftovers(self.folder)
            write_if_new(self.folder / "config.yaml", self.config_text, keep=resumed)
            if resumed:
                return
            atomic_write_text(self.folder / "environment.txt", environment(command))
            for number, batch in enumerate(self.readings.batches[:SHOWN]):
                path = self.folder / "samples" / f"train_batch{number}.jpg"
                save_batch(path, batch, self.parts.train.names)
            if self.records:
                one = self.records[0] if len(self.records) == 1 else {"teachers": [*self.records]}
                write_json(self.folder / "teacher.json", one)

    def planned(self) -> Planned:
        """Return the plan."""
        rows = plan_rows(self.parts, self.origins, str(self.folder))
        return Planned(rows, str(self.folder), self.config.train.epochs, self.parts.schedule.steps)

    # --- training --------------------------------------------------------------------------

    def train(self, started: float) -> Iterator[Event]:
        """Run the loop, watch it, save.

        Raises:
            Stopped: By Ctrl-C or SIGTERM, after a save.
        """
        with InterruptHandler(self.parts.accelerator) as stop:
            yield from self._epochs(stop)
        seconds = time.monotonic() - started
        yield Finished(str(self.folder), self.best.scores, self.best.epoch, seconds)

    def _epochs(self, stop: InterruptHandler) -> Iterator[Event]:
        p, means = self.parts, self.means
        metrics = None
        if p.accelerator.is_main_process:
            with self._writing():
                metrics = Metrics(self.folder / "metrics.jsonl", keep_epochs=self.at.epoch)
        for event in fit(
            p.accelerator,
            p.task,
            p.supervision,
            p.optimizer,
            p.ema,
            p.loader,
            p.schedule,
            self.at,
            self._resize(),
        ):
            if not isinstance(event, EpochEnded):
                epoch, step, losses, ids = event
                self.guard.watch(losses, epoch + 1, step, ids)
                means.add(losses)
                share = means.kd_share(self._factor(epoch, step)) if p.distillation else None
                yield StepDone(epoch, step, losses, self._lr(), share)
                if p.distillation and self.readings.due(epoch, step):
                    when = f"at epoch {epoch + 1} step {step}"
                    yield from self.readings.take(p.distillation, Position(epoch, step), when)
                if p.accelerator.sync_gradients:  # gradients that still add up are not saved
                    self._save_between(Position(epoch, step), stop)
                continue
            self.guard.look()
            self.guard.weights((p.bare, p.ema.module), event.epoch + 1)
            before = means.state()
            row = means.take(gather_object)
            seconds = time.monotonic() - self.begun
            yield EpochDone(event.epoch, row, seconds, self._lr())
            scores = {}
            if self._evaluates(event.epoch):
                found = self._judged(Position(event.epoch, p.schedule.steps), before, stop)
                scores = self._agreed({name: float(getattr(found, name)) for name in HEADLINE})
                improved = self.best.update(event.epoch, scores)
                if improved or self._is_last(event.epoch, unsaved=True):
                    with self._writing():
                        self._save_best(found, scores)
                    self.guard.best = event.epoch
                yield Evaluated(event.epoch, scores, improved)
            kd: dict[str, Any] = p.supervision.teachers.take_cost() if p.supervision else {}
            if p.supervision:
                factors = {
                    name: p.schedule.kd_factor(name, event.epoch, 0) for name in p.bare.methods
                }
                kd |= {"kd_weights": dict(p.bare.weights), "kd": factors}
            timing = {"lr": self._lr(), "seconds": round(seconds, 3)}
            if metrics is not None:
                with self._writing():
                    metrics.append({"epoch": event.epoch, **row, **scores, **timing, **kd})
            self._save_last(Position(event.epoch + 1, 0))
            if self.best.exhausted(event.epoch) and not self._is_last(event.epoch):
                text = f"Stopped early: no better AP for {self.best.patience} epochs."
                yield Notice("info", text)
                break

    def _save_between(self, at: Position, stop: InterruptHandler) -> None:
        """Save within an epoch when it is time, or when the run is asked to stop."""
        agreed = stop.agreed(self.interval.due())
        if agreed.save:
            self.guard.look()
            self.guard.weights((self.parts.bare, self.parts.ema.module), at.epoch + 1)
            self._save_last(at)
        if agreed.stop:
            raise stop.stopped(at)

    def _judged(self, at: Position, means: Mapping[str, Any], stop: InterruptHandler) -> Scores:
        """Evaluate at the end of an epoch; it takes long, so it can be stopped and taken up."""
        p = self.parts
        if stop.agreed(self.interval.due(), now=True).save:
            self._save_last(at, means)
        batches = -(-len(p.val) // p.val_loader.batch_sampler.batch)
        common = batches // p.accelerator.num_processes
        try:
            return scores_on_val(p, p.ema.module, stop.between(p.val_loader, at, common))
        except RunInterrupted:
            self._save_last(at, means)
            raise

    def _resize(self) -> Any:
        if not self.config.train.multi_scale:
            return None
        parts = self.parts
        return multi_scale(self.config.train.image_size, parts.stride, parts.schedule.seed)

    def _is_last(self, epoch: int, *, unsaved: bool = False) -> bool:
        return epoch + 1 == self.parts.schedule.epochs and (not unsaved or self.best.epoch < 0)

    def _evaluates(self, epoch: int) -> bool:
        train = self.config.train
        due = train.validate_runs and (epoch + 1) % train.eval_every == 0
        return due or self._is_last(epoch)

    def _agreed(self, scores: dict[str, float]) -> dict[str, float]:
        """Return the first process's scores: running statistics, and so networks, differ.

        All must agree on which epoch is best and when patience has run out, or some would wait for
        others that have stopped.
        """
        told = [scores]
        broadcast_object_list(told)
        return told[0]

    def _lr(self) -> float:
        return float(self.parts.optimizer.param_groups[-1]["lr"])

    # --- files -----------------------------------------------------------------------------

    def _factor(self, epoch: int, step: int) -> Callable[[str], float]:
        return lambda method: self.parts.schedule.kd_factor(method, epoch, step - 1)

    def _save_best(self, found: Scores, scores: dict[str, float]) -> None:
        student = cast("GraphDetector", self.parts.ema.module)
        if not self.parts.accelerator.is_main_process:
            return
        meta = header(student, self.config, scores, self.records, self.parts.start)
        save_best(self.folder / "best.safetensors", student.state_dict(), meta)
        write_json(self.folder / "scores.json", found.to_dict())
        write_json(self.folder / "predictions.json", found.detections)
        save_detections(self.folder / "samples", self.parts.val, found.detections)

    def _save_last(self, at: Position, means: Mapping[str, Any] | None = None) -> None:
        """Write ``last.pt``; ``means`` are those of the epoch, if they were taken already."""
        p = self.parts
        began = StudentOrigin.of(p.student, p.start)
        means = shared(self.means.state() if means is None else means, p.accelerator.num_processes)
        if not at.batch:
            self.begun = time.monotonic()
        if p.accelerator.is_main_process:
            with self._writing():
                save_state(
                    self.folder / "last.pt",
                    accelerator=p.accelerator,
                    task=p.task,
                    optimizer=p.optimizer,
                    ema=p.ema,
                    at=at,
                    progress={
                        "best": self.best.value,
                        "best_epoch": self.best.epoch,
                        "best_scores": self.best.scores,
                        "readings": self.readings.history,
                        "threads": torch.get_num_threads(),
                        "teachers": [identity(record) for record in self.records],
                        "means": means,
                        "seconds": time.monotonic() - self.begun,
                        "data": data_of(p),
                        "processes": p.accelerator.num_processes,
                        **began._asdict(),
                    },
                    config=self.config_text,
                )
        self.guard.saved = self.saved = at
        self.interval.restart()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what is left when a file cannot be written."""
        try:
            yield
        except OSError as error:
            raise unwritable(error, self.folder, self.saved) from error
