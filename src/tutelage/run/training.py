"""The training of a run: its loop, its evaluations, and the files it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from tutelage.config.dump import dump
from tutelage.config.run_paths import ENVIRONMENT
from tutelage.evaluation import Scores
from tutelage.files import atomic_write_text
from tutelage.run.checkpoint import LossSums, RunProgress, best_metadata, save_checkpoint
from tutelage.run.early_stopping import EarlyStopping
from tutelage.run.events import EpochDone, Evaluated, Event, Finished, Notice, StepDone
from tutelage.run.finite_guard import CHECK_EVERY, FiniteGuard
from tutelage.run.folder import (
    describe_environment,
    remove_temporary_files,
    settings_for,
    write_error,
    write_json,
    write_settings,
)
from tutelage.run.interrupt import InterruptHandler, RunInterrupted, SaveTimer
from tutelage.run.kd_weights import SHOWN, WeightMeasurements
from tutelage.run.metrics import LossMeans, MetricsFile, gather_state
from tutelage.run.preflight.before_training import evaluate_on_val
from tutelage.run.resume import data_identity
from tutelage.run.sample_images import save_batch, save_detections
from tutelage.run.stored_answers import release_teachers, run_out_of_room
from tutelage.run.teaching_cost import asked_by_checks, read_rows, read_teaching_cost
from tutelage.setup.build import RunParts
from tutelage.setup.unlabelled import files_by_id
from tutelage.teachers.stored import StoredTeachers
from tutelage.teachers.teacher import teacher_identity
from tutelage.training.loop import BatchDone, EpochEnded, fit, multi_scale
from tutelage.training.schedule import Position
from tutelage.weights.store import save_best

FIRST = "first.safetensors"  # the student after the first epoch: what the report starts from
HEADLINE = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class TrainingRun:
    """The parts of one run, its progress and its files."""

    def __init__(
        self,
        parts: RunParts,
        origins: Mapping[str, str],
        folder: Path,
        weights: WeightMeasurements,
        position: Position,
        progress: RunProgress | None,
    ) -> None:
        self.parts, self.config = parts, parts.config
        self.folder, self.weights, self.start = folder, weights, position
        stored = settings_for(folder, self.config) if progress else self.config
        self.config_text = dump(stored, origins)
        self.best = EarlyStopping(self.config.train.patience, progress)
        self.means = LossMeans()
        self.interrupt = InterruptHandler(parts.accelerator)
        self.save_timer = SaveTimer(self.config.train.save_minutes)
        on_cpu = parts.accelerator.device.type == "cpu"
        self.guard = FiniteGuard(
            str(folder), 1 if on_cpu else CHECK_EVERY, files_by_id(parts.train, parts.unlabelled)
        )
        self.epoch_started = time.monotonic()
        self.troubles: set[Path] = set()  # stores that nothing more is written to
        self.spent: dict[str, float] = {}  # seconds of checks since the last row of the metrics
        if progress:
            self.guard.saved, self.guard.best = position, self.best.epoch
            self.epoch_started -= progress.seconds
            if progress.means:
                self.means.restore(progress.means)

    def write_first_files(self, command: str, *, resumed: bool) -> None:
        """Write what is known before the first step."""
        if not self.parts.accelerator.is_main_process:
            return
        with self._write_errors():
            remove_temporary_files(self.folder)
            write_settings(self.folder / "config.yaml", self.config_text, resumed=resumed)
            if resumed:
                return
            atomic_write_text(self.folder / ENVIRONMENT, describe_environment(command))
            for number, batch in enumerate(self.weights.batches[:SHOWN]):
                path = self.folder / "samples" / f"train_batch{number}.jpg"
                save_batch(path, batch, self.parts.train.names)
            if records := self.parts.teacher_records:
                content = records[0] if len(records) == 1 else {"teachers": [*records]}
                write_json(self.folder / "teacher.json", content)

    # --- training --------------------------------------------------------------------------

    def train(self, started: float) -> Iterator[Event]:
        """Run the training loop; evaluate and save."""
        teachers = self.parts.distillation.teachers if self.parts.distillation else None
        try:
            with self.interrupt:
                yield from self._train()
        finally:
            if isinstance(teachers, StoredTeachers):
                teachers.close()
        seconds = time.monotonic() - started
        cost = read_teaching_cost(read_rows(self.folder / "metrics.jsonl"))
        teaching = cost.to_dict() if cost else {}
        yield Finished(str(self.folder), self.best.scores, self.best.epoch, seconds, teaching)

    def _train(self) -> Iterator[Event]:
        parts, train = self.parts, self.config.train
        metrics = None
        if parts.accelerator.is_main_process:
            with self._write_errors():
                metrics = MetricsFile(self.folder / "metrics.jsonl", keep_epochs=self.start.epoch)
        for event in fit(
            parts.accelerator,
            parts.task,
            parts.supervision,
            parts.optimizer,
            parts.ema,
            parts.loader,
            parts.schedule,
            self.start,
            multi_scale(
                train.image_size, parts.stride, parts.schedule.seed, self.config.distill.view_seed
            )
            if train.multi_scale
            else None,
        ):
            if isinstance(event, EpochEnded):
                yield from self._end_epoch(event.epoch, metrics)
                if self.best.exhausted(event.epoch) and not self._is_last(event.epoch):
                    text = f"Stopped early: no better AP for {self.best.patience} epochs."
                    yield Notice("info", text)
                    break
            else:
                yield from self._end_batch(event)

    def _end_batch(self, event: BatchDone) -> Iterator[Event]:
        epoch, step, losses, ids = event
        parts, position = self.parts, Position(epoch, step)
        self.guard.add(losses, epoch + 1, step, ids)
        self.means.add(losses, taught=parts.schedule.teaches(epoch, step - 1))
        factor = partial(parts.schedule.kd_factor, epoch=epoch, step=step - 1)
        share = self.means.kd_share(factor) if parts.distillation else None
        asked = parts.supervision.teachers.asked_share if parts.supervision else None
        yield StepDone(epoch, step, losses, self._lr(), share, asked)
        if parts.distillation and self.weights.due(epoch, step):
            when, begun = f"at epoch {epoch + 1} step {step}", time.monotonic()
            yield from self.weights.measure(parts.distillation, position, when)
            self.spend("measuring_seconds", time.monotonic() - begun)
        if parts.accelerator.sync_gradients:  # accumulated gradients are not saved
            decision = self.interrupt.decide(self.save_timer.due())
            if decision.save:
                self.guard.check_losses()
                self._check_weights(epoch)
                self._save_last(position)
            if decision.stop:
                raise self.interrupt.interrupted(position)

    def _end_epoch(self, epoch: int, metrics: MetricsFile | None) -> Iterator[Event]:
        parts = self.parts
        self.guard.check_losses()
        self._check_weights(epoch)
        sums = self.means.state()
        means = self.means.take(gather_object)
        seconds = time.monotonic() - self.epoch_started
        teaching: dict[str, float] = {}
        if parts.supervision:
            teaching = {**parts.supervision.teachers.take_cost(), **self.spent}
            self.spent = {}
        weights, factors = self._kd_weights(epoch)
        ratios = self.weights.ratios(weights)
        yield EpochDone(epoch, means, seconds, self._lr(), teaching, weights, factors, ratios)
        scores = {}
        if self._evaluates(epoch):
            result = self._evaluate(Position(epoch, parts.schedule.steps), sums)
            # The networks of the processes differ in BatchNorm statistics; all must agree on the
            # best epoch and on when to stop.
            shared = [{name: float(getattr(result, name)) for name in HEADLINE}]
            scores = broadcast_object_list(shared)[0]
            improved = self.best.update(epoch, scores)
            if improved or (self._is_last(epoch) and self.best.epoch < 0):
                with self._write_errors():
                    self._save_best(result, scores)
                self.guard.best = epoch
            yield Evaluated(epoch, scores, improved)
        if epoch == 0 and parts.distillation:
            with self._write_errors():
                self._save_student(FIRST)
        timing = {"lr": self._lr(), "seconds": round(seconds, 3)}
        kd: dict[str, Any] = dict(teaching)
        if parts.supervision:
            kd |= {"kd_weights": weights, "kd": factors}
        if metrics is not None:
            with self._write_errors():
                metrics.append(epoch, {**means, **scores, **timing, **kd})
        self._save_last(Position(epoch + 1, 0))
        yield from run_out_of_room(parts, self.troubles)
        release_teachers(parts)

    def _kd_weights(self, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """Return the weight of each method, and the factor of the schedule on it."""
        parts = self.parts
        if not parts.supervision:
            return {}, {}
        methods = parts.unwrapped_task.methods
        factors = {name: parts.schedule.kd_factor(name, epoch, 0) for name in methods}
        return dict(parts.unwrapped_task.weights), factors

    def spend(self, key: str, seconds: float) -> None:
        """Note the seconds of checks or of weighing the methods, and what these have asked."""
        for name, value in {key: seconds, **asked_by_checks(self.parts)}.items():
            self.spent[name] = round(self.spent.get(name, 0.0) + value, 3)

    def _evaluate(self, position: Position, sums: LossSums) -> Scores:
        """Evaluate the EMA student; if interrupted, a resumed run evaluates again."""
        parts = self.parts
        if self.interrupt.decide(self.save_timer.due(), now=True).save:
            self._save_last(position, sums)
        batches = -(-len(parts.val) // parts.val_loader.batch_sampler.batch)
        common = batches // parts.accelerator.num_processes
        try:
            loader = self.interrupt.interruptible(parts.val_loader, position, common)
            return evaluate_on_val(parts, parts.ema.module, loader)
        except RunInterrupted:
            self._save_last(position, sums)
            raise

    def _check_weights(self, epoch: int) -> None:
        modules = (self.parts.unwrapped_task, self.parts.ema.module)
        self.guard.check_weights(modules, epoch + 1)

    def _is_last(self, epoch: int) -> bool:
        return epoch + 1 == self.parts.schedule.epochs

    def _evaluates(self, epoch: int) -> bool:
        train = self.config.train
        return self._is_last(epoch) or (train.validate_runs and (epoch + 1) % train.eval_every == 0)

    def _lr(self) -> float:
        return float(self.parts.optimizer.param_groups[-1]["lr"])

    # --- files -----------------------------------------------------------------------------

    def _save_best(self, result: Scores, scores: dict[str, float]) -> None:
        parts = self.parts
        if not parts.accelerator.is_main_process:
            return
        self._save_student("best.safetensors", scores)
        write_json(self.folder / "scores.json", result.to_dict())
        write_json(self.folder / "predictions.json", result.results)
        save_detections(self.folder / "samples", parts.val, result.detections)

    def _save_student(self, name: str, scores: Mapping[str, float] = MappingProxyType({})) -> None:
        """Write the EMA student with its metadata."""
        if self.parts.accelerator.is_main_process:
            tensors = self.parts.ema.module.state_dict()
            save_best(self.folder / name, tensors, best_metadata(self.parts, dict(scores)))

    def _save_last(self, position: Position, sums: LossSums | None = None) -> None:
        """Write ``last.pt``; ``sums``: of the losses, if their means were taken already."""
        parts, accelerator = self.parts, self.parts.accelerator
        sums = gather_state(sums or self.means.state(), accelerator.num_processes)
        if not position.batch:
            self.epoch_started = time.monotonic()
        if accelerator.is_main_process:
            progress = RunProgress(
                best=self.best.value,
                best_epoch=self.best.epoch,
                best_scores=self.best.scores,
                readings=self.weights.history,
                threads=torch.get_num_threads(),
                teachers=[teacher_identity(record) for record in parts.teacher_records],
                runtimes=list(parts.distillation.runtimes) if parts.distillation else [],
                means=sums,
                seconds=time.monotonic() - self.epoch_started,
                data=data_identity(parts),
                processes=accelerator.num_processes,
                head=parts.student.head.training_state(),
                arch=parts.student.arch,
                arch_name=parts.student.arch_name,
                start=parts.start,
                views=parts.teaching.views.per_image if parts.teaching.views else 0,
                flips=parts.teaching.views is not None and parts.teaching.views.flips,
                precision=parts.precision,
            )
            with self._write_errors():
                path = self.folder / "last.pt"
                save_checkpoint(path, parts, position, progress, self.config_text)
        self.guard.saved = position
        self.save_timer.restart()

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Report which files are left when one cannot be written."""
        try:
            yield
        except OSError as error:
            raise write_error(error, self.folder, self.guard.saved) from error
