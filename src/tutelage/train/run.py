"""One training run from settings to files, as a generator of events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from tutelage.config.load import dump
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, DataError
from tutelage.evaluation import Scores, evaluate
from tutelage.models.graph import GraphDetector
from tutelage.structures import Predictions
from tutelage.teachers import fingerprint
from tutelage.train.assemble import Parts, assemble
from tutelage.train.describe import plan_rows
from tutelage.train.events import EpochDone, Evaluated, Event, Finished, Notice, Planned, StepDone
from tutelage.train.folder import Metrics, environment, make_run_folder, write_json
from tutelage.train.loop import EpochEnded, fit, multi_scale
from tutelage.train.observers import Best, FiniteGuard, LossMeans
from tutelage.train.plan import Position
from tutelage.train.preflight import preflight
from tutelage.train.readings import Readings, first_batches
from tutelage.train.samples import save_batch, save_detections
from tutelage.train.state import read_state, restore, save_state
from tutelage.train.teaching import worth
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
        What happens, see :mod:`tutelage.train.events`.

    Raises:
        UserError: Anything the user can mend.
    """
    started = time.monotonic()
    saved = read_state(Path(resume) / "last.pt") if resume else None
    if saved is not None and saved["position"][0] >= config.train.epochs:
        raise ConfigError(
            f"{resume} is already finished ({saved['position'][0]}/{config.train.epochs} epochs).",
            fix=f"To train on: --weights {resume}/best.safetensors --epochs 50",
        )
    if saved is not None and config.train.threads == "auto":
        torch.set_num_threads(saved["progress"]["threads"])
    yield from (Notice("info", text) for text in notices)
    parts = assemble(config, origins, keep_threads=saved is not None)
    yield from (Notice("info", text) for text in parts.notices)
    run = _Run(parts, origins or {}, resume, saved, command_line)
    yield from run.prepare(fresh=saved is None)
    yield run.planned()
    events = run.train(started)
    yield from islice(events, 1) if dry_run else events


class _Run:
    """The parts of one run, its progress and its files."""

    def __init__(
        self,
        parts: Parts,
        origins: Mapping[str, str],
        resume: str | None,
        saved: dict[str, Any] | None,
        command: str,
    ) -> None:
        self.parts, self.config, self.origins = parts, parts.config, origins
        self.config_text = dump(self.config, origins)
        self.folder = Path(resume) if resume else _new_folder(parts)
        self.record: dict[str, Any] = dict(parts.teaching.record) if parts.teaching else {}
        self.best = Best(self.config.train.patience)
        self.guard = FiniteGuard(str(self.folder))
        self.at = Position()
        history: list[dict[str, Any]] = []
        if saved is None:
            atomic_write_text(self.folder / "config.yaml", self.config_text)
            atomic_write_text(self.folder / "environment.txt", environment(command))
        else:
            p = parts
            self.at = restore(
                saved, accelerator=p.accelerator, task=p.task, optimizer=p.optimizer, ema=p.ema
            )
            progress = saved["progress"]
            self.best.value, self.best.epoch = progress["best"], progress["best_epoch"]
            self.best.scores = dict(progress["best_scores"])
            self.guard.last_good_epoch = self.at.epoch
            history = progress["readings"]
        self.readings = Readings(parts, history)

    def planned(self) -> Planned:
        """Return the plan."""
        rows = plan_rows(self.parts, self.record, self.origins, str(self.folder))
        return Planned(rows, str(self.folder), self.config.train.epochs, self.parts.plan.steps)

    # --- before the first step -------------------------------------------------------------

    def prepare(self, *, fresh: bool) -> Iterator[Event]:
        """Judge the teacher, prove the wiring, measure the weights."""
        p, teaching = self.parts, self.parts.teaching
        batches = self.readings.batches or first_batches(p)[:3]
        for number, batch in enumerate(batches[:3]):
            save_batch(self.folder / "samples" / f"train_batch{number}.jpg", batch, p.train.names)
        if teaching is None:
            return
        if not batches:
            raise DataError("No training batch holds a box: the teacher has nothing to point at.")
        self.record["scores"] = worth(teaching, p.val, self.config, p.accelerator.device)
        write_json(self.folder / "teacher.json", self.record)
        yield from self._judge(self.record["scores"])
        preflight(
            p.bare, teaching.teacher, lambda: fingerprint(teaching.teacher.state()), batches[0]
        )
        if fresh and teaching.shares:
            yield from self.readings.take(teaching, self.at, "before the first step")

    def _judge(self, scores: dict[str, float] | None) -> Iterator[Event]:
        if scores is None:
            text = "The teacher shares no class name with the data: it was not evaluated."
            yield Notice("info", text)
        elif self.config.model.weights is not None:
            start = self.evaluate(self.parts.bare.student).AP
            if scores["AP"] < start:
                teacher, data = self.config.distill.teacher, self.config.data
                yield Notice(
                    "warning",
                    f"The teacher scores AP {scores['AP']:.3f} on your val split, the student "
                    f"starts at {start:.3f}. Distillation will pull it down. Fine-tune the "
                    f"teacher first: tutelage train --weights {teacher} --data {data}",
                )

    # --- training --------------------------------------------------------------------------

    def train(self, started: float) -> Iterator[Event]:
        """Run the loop, watch it, save."""
        p, means = self.parts, LossMeans()
        metrics = Metrics(self.folder / "metrics.jsonl", keep_epochs=self.at.epoch)
        clock = time.monotonic()
        for event in fit(
            p.accelerator,
            p.task,
            p.teaching.teacher if p.teaching else None,
            p.optimizer,
            p.ema,
            p.loader,
            p.plan,
            self.at,
            self._resize(),
        ):
            if not isinstance(event, EpochEnded):
                epoch, step, losses = event
                self.guard.watch(losses, epoch + 1, step)
                means.add(losses)
                share = means.kd_share(p.plan.kd(epoch, step - 1)) if p.teaching else None
                yield StepDone(epoch, step, losses, self._lr(), share)
                if p.teaching and self.readings.due(epoch, step):
                    when = f"at epoch {epoch + 1} step {step}"
                    yield from self.readings.take(p.teaching, Position(epoch, step), when)
                continue
            row = {name: value for name, value in means.take().items() if name != "off"}
            seconds = time.monotonic() - clock
            yield EpochDone(event.epoch, row, seconds, self._lr())
            scores = {}
            if self._evaluates(event.epoch):
                found = self.evaluate(p.ema.module)
                scores = {name: float(getattr(found, name)) for name in HEADLINE}
                improved = self.best.update(event.epoch, scores)
                if improved or self._is_last(event.epoch, unsaved=True):
                    self._save_best(found, scores)
                yield Evaluated(event.epoch, scores, improved)
            kd = {"kd_weights": dict(p.bare.weights)} if p.teaching else {}
            timing = {"lr": self._lr(), "seconds": round(seconds, 3)}
            metrics.append({"epoch": event.epoch, **row, **scores, **timing, **kd})
            self._save_last(Position(event.epoch + 1, 0))
            self.guard.last_good_epoch = event.epoch + 1
            clock = time.monotonic()
            if self.best.exhausted(event.epoch) and not self._is_last(event.epoch):
                text = f"Stopped early: no better AP for {self.best.patience} epochs."
                yield Notice("info", text)
                break
        seconds = time.monotonic() - started
        yield Finished(str(self.folder), self.best.scores, self.best.epoch, seconds)

    def _resize(self) -> Any:
        if not self.config.train.multi_scale:
            return None
        stride = max(self.parts.student.strides)
        return multi_scale(self.config.train.image_size, stride, self.parts.plan.seed)

    def _is_last(self, epoch: int, *, unsaved: bool = False) -> bool:
        return epoch + 1 == self.parts.plan.epochs and (not unsaved or self.best.epoch < 0)

    def _evaluates(self, epoch: int) -> bool:
        train = self.config.train
        due = train.validate_runs and (epoch + 1) % train.eval_every == 0
        return due or self._is_last(epoch)

    def evaluate(self, network: Any) -> Scores:
        """Return the scores of a network on the val split."""
        p = self.parts
        fused = cast("GraphDetector", network).fused().to(memory_format=torch.channels_last)

        def predict(images: torch.Tensor) -> Predictions:
            raw = fused(images).raw
            return fused.decode(raw, (int(images.shape[-2]), int(images.shape[-1])))

        return evaluate(
            predict,
            p.val_loader,
            p.val,
            device=p.accelerator.device,
            letterbox=p.val_loader.dataset.letterbox,
        )

    def _lr(self) -> float:
        return float(self.parts.optimizer.param_groups[-1]["lr"])

    # --- files -----------------------------------------------------------------------------

    def _save_best(self, found: Scores, scores: dict[str, float]) -> None:
        student = cast("GraphDetector", self.parts.ema.module)
        if not self.parts.accelerator.is_main_process:
            return
        train = self.config.train
        meta = {
            "format": "tutelage-1",
            "arch": student.arch,
            "arch_name": student.arch_name,
            "names": list(student.names),
            "image_size": train.image_size,
            "scores": scores,
            "teacher": {
                key: self.record[key] for key in ("source", "sha256") if key in self.record
            },
            "training": {"data": self.config.data, "epochs": train.epochs, "seed": train.seed},
        }
        save_best(self.folder / "best.safetensors", student.state_dict(), meta)
        write_json(self.folder / "scores.json", found.to_dict())
        write_json(self.folder / "predictions.json", found.detections)
        save_detections(self.folder / "samples", self.parts.val, found.detections)

    def _save_last(self, at: Position) -> None:
        p = self.parts
        if p.accelerator.is_main_process:
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
                },
                config=self.config_text,
            )


def _new_folder(parts: Parts) -> Path:
    config = parts.config
    data = Path(str(config.data)).stem.replace(":", "-")
    method = "-".join(parts.bare.methods) if parts.teaching else ""
    words = (data, parts.student.arch_name.replace("@", "-"), method)
    default = "-".join(word for word in words if word)
    run = config.run
    return make_run_folder(Path(run.project), run.name, default, exist_ok=run.exist_ok)
