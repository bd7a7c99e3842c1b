"""One training run from settings to files, as a generator of events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tutelage.config.load import dump
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, DataError
from tutelage.evaluation import Scores, evaluate
from tutelage.models.graph import GraphDetector
from tutelage.structures import Batch, Predictions
from tutelage.teachers import fingerprint
from tutelage.train.assemble import Parts, assemble, make_training_loader
from tutelage.train.calibrate import Reading, measure, with_boxes
from tutelage.train.describe import plan_rows
from tutelage.train.events import EpochDone, Evaluated, Event, Finished, Notice, Planned, StepDone
from tutelage.train.folder import Metrics, environment, make_run_folder, write_json
from tutelage.train.loop import EpochEnded, fit, multi_scale
from tutelage.train.observers import Best, FiniteGuard, LossMeans
from tutelage.train.plan import Position
from tutelage.train.preflight import preflight
from tutelage.train.samples import save_batch, save_detections
from tutelage.train.state import read_state, restore, save_state
from tutelage.train.teaching import worth
from tutelage.weights.store import atomic_write_text, save_best

CALIBRATION_IMAGES = 16  # per batch: the readings' batches stay in memory
LATER_READINGS = (0.25, 0.5)  # of all steps; after these the weight is frozen
JUMP = 2.0  # a change of the weight worth a warning


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
        origins: Where each setting came from, for ``config.yaml`` and the plan.
        resume: A run folder to continue; ``config`` must be the one stored there.
        dry_run: Build everything, prove the wiring, take one step, write nothing more.
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
        done = f"{saved['position'][0]}/{config.train.epochs} epochs"
        raise ConfigError(
            f"{resume} is already finished ({done}).",
            fix=f"To train on: --weights {resume}/best.safetensors --epochs 50",
        )
    yield from (Notice("info", text) for text in notices)
    parts = assemble(config, origins)
    yield from (Notice("info", text) for text in parts.notices)
    run = _Run(parts, config, origins or {}, resume, command_line)
    at = run.restore(saved) if saved is not None else Position()
    yield from run.prepare(fresh=saved is None)
    yield Planned(
        plan_rows(parts, run.record, run.weights_note, origins or {}, str(run.folder)),
        str(run.folder),
        config.train.epochs,
        parts.plan.steps,
    )
    events = run.train(at, started)
    yield from islice(events, 1) if dry_run else events


class _Run:
    """The parts of one run and its files."""

    def __init__(
        self,
        parts: Parts,
        config: Config,
        origins: Mapping[str, str],
        resume: str | None,
        command: str,
    ) -> None:
        self.parts, self.config = parts, config
        self.config_text = dump(config, origins)
        self.folder = Path(resume) if resume else _new_folder(config, parts)
        self.best = Best(config.train.patience)
        self.guard = FiniteGuard(str(self.folder))
        self.record: dict[str, Any] | None = parts.teaching.record if parts.teaching else None
        self.readings: list[dict[str, Any]] = []
        self.weights_note = "fixed"
        self._batches: list[Batch] = []
        self._metrics_kept = 0
        if not resume:
            atomic_write_text(self.folder / "config.yaml", self.config_text)
            atomic_write_text(self.folder / "environment.txt", environment(command))

    # --- before the first step -------------------------------------------------------------

    def restore(self, saved: dict[str, Any]) -> Position:
        """Load ``last.pt`` into the parts."""
        p = self.parts
        at = restore(
            saved, accelerator=p.accelerator, task=p.task, optimizer=p.optimizer, ema=p.ema
        )
        progress = saved["progress"]
        self.best.value, self.best.epoch = progress["best"], progress["best_epoch"]
        self.best.scores = dict(progress["best_scores"])
        self.readings = list(progress["readings"])
        self.guard.last_good_epoch = at.epoch
        self._metrics_kept = at.epoch
        return at

    def prepare(self, *, fresh: bool) -> Iterator[Event]:
        """Prove the wiring, judge the teacher, measure the weights."""
        p = self.parts
        self._batches = self._draw_batches()
        if p.teaching is not None and self.record is not None:
            if not self._batches:
                raise DataError(
                    "No training batch holds a box: the teacher has nothing to point at."
                )
            scores = worth(p.teaching, p.val, self.config, p.accelerator.device)
            self.record["scores"] = scores
            yield from self._judge(scores)
            preflight(
                p.bare,
                p.teaching.teacher,
                lambda: fingerprint(p.teaching.teacher.state()),
                self._batches[0],  # pyright: ignore[reportOptionalMemberAccess]
            )
            if fresh and p.teaching.shares:
                yield from self.calibrate(Position(), "before the first step")
            self.weights_note = ", ".join(f"{n} × {w:.3g}" for n, w in p.bare.weights.items())
            write_json(self.folder / "teacher.json", self.record)

    def _draw_batches(self) -> list[Batch]:
        p = self.parts
        rank = p.accelerator.process_index
        loader = make_training_loader(
            self.config,
            p.train,
            batch=min(self.config.train.batch, CALIBRATION_IMAGES),
            workers=0,
            stride=max(p.student.strides),
            seed=self.config.train.seed + 7919 + rank,
        )
        drawn = with_boxes(loader) if p.teaching else []
        device = p.accelerator.device
        return [Batch(b.images.to(device), b.targets.to(device), b.ids) for b in drawn]

    def _judge(self, scores: dict[str, float] | None) -> Iterator[Event]:
        if scores is None:
            yield Notice(
                "info", "The teacher shares no class name with the data: it was not evaluated."
            )
        elif self.config.model.weights is not None:
            start = self.evaluate(self.parts.bare.student).AP
            if scores["AP"] < start:
                yield Notice(
                    "warning",
                    f"The teacher scores AP {scores['AP']:.3f} on your val split, the student starts at "
                    f"{start:.3f}. Distillation will pull it down. Fine-tune the teacher first: "
                    f"tutelage train --weights {self.config.distill.teacher} --data {self.config.data}",
                )

    def calibrate(self, at: Position, when: str) -> Iterator[Event]:
        """Measure the weights of the methods with ``weight: auto`` and set them."""
        p = self.parts
        assert p.teaching is not None
        before = dict(p.bare.weights)
        reading = measure(
            p.bare,
            p.teaching.teacher if not p.plan.predictions else _with_predictions(p.teaching.teacher),
            self._batches,
            p.teaching.shares,
            lambda x: cast("torch.Tensor", p.accelerator.reduce(x, "mean")),
        )
        p.bare.weights.update(reading.weights)
        self.readings.append({"epoch": at.epoch, "when": when, **_summary(reading)})
        text = ", ".join(f"{n} × {w:.4g}" for n, w in reading.weights.items())
        jumps = [
            n
            for n, w in reading.weights.items()
            if len(self.readings) > 1 and not 1 / JUMP <= w / before[n] <= JUMP
        ]
        reason = "the balance of KD and detection gradients at the taps has moved" if jumps else ""
        yield Notice(
            "warning" if jumps else "info",
            f"weights measured {when}: {text}"
            + (f" (was {', '.join(f'{before[n]:.4g}' for n in jumps)}: {reason})" if jumps else ""),
        )

    # --- training --------------------------------------------------------------------------

    def train(self, at: Position, started: float) -> Iterator[Event]:
        """Run the loop, watch it, save."""
        p, means = self.parts, LossMeans()
        metrics = Metrics(self.folder / "metrics.jsonl", keep_epochs=self._metrics_kept)
        resize = multi_scale(self.config.train.image_size, max(p.student.strides), p.plan.seed)
        teacher = p.teaching.teacher if p.teaching else None
        total = p.plan.epochs * p.plan.steps
        due = sorted({p.plan.warmup_steps, *(int(total * f) for f in LATER_READINGS)} - {0})
        clock = time.monotonic()
        for event in fit(
            p.accelerator,
            p.task,
            teacher,
            p.optimizer,
            p.ema,
            self._watched(p.loader),
            p.plan,
            at,
            resize if self.config.train.multi_scale else None,
        ):
            if not isinstance(event, EpochEnded):
                epoch, step, losses = event
                self.guard.watch(losses, epoch + 1, step)
                means.add(losses)
                yield StepDone(epoch, step, losses, self._lr(), self._kd_share(epoch, step, means))
                if (
                    p.teaching
                    and p.teaching.shares
                    and p.plan.step_at(epoch, step) in due
                    and p.plan.kd(epoch, step - 1)
                ):
                    yield from self.calibrate(
                        Position(epoch, step), f"at epoch {epoch + 1} step {step}"
                    )
                continue
            row = {n: v for n, v in means.take().items() if n != "off"}
            last = event.epoch + 1 == p.plan.epochs
            seconds = time.monotonic() - clock
            yield EpochDone(event.epoch, row, seconds, self._lr())
            scores: dict[str, float] = {}
            if self._evaluates(event.epoch, last=last):
                found = self.evaluate(p.ema.module)
                scores = _headline(found)
                improved = self.best.update(event.epoch, scores)
                if improved or (last and self.best.epoch < 0):
                    self._save_best(found)
                yield Evaluated(event.epoch, scores, improved)
            metrics.append(
                {
                    "epoch": event.epoch,
                    **row,
                    **scores,
                    "lr": self._lr(),
                    "seconds": round(seconds, 3),
                    **({"kd_weights": dict(p.bare.weights)} if p.teaching else {}),
                }
            )
            self._save_last(Position(event.epoch + 1, 0))
            self.guard.last_good_epoch = event.epoch + 1
            clock = time.monotonic()
            if self.best.exhausted(event.epoch) and not last:
                yield Notice(
                    "info", f"Stopped early: no better AP for {self.best.patience} epochs."
                )
                break
        yield Finished(
            str(self.folder), self.best.scores, self.best.epoch, time.monotonic() - started
        )

    def _watched(self, loader: Any) -> Any:
        """Save pictures of the first batches, then hand out the loader itself."""
        p = self.parts
        for number, batch in enumerate(islice(iter(self._batches or self._first_batches()), 3)):
            save_batch(self.folder / "samples" / f"train_batch{number}.jpg", batch, p.train.names)
        self._release()
        return loader

    def _first_batches(self) -> Iterator[Batch]:
        loader = make_training_loader(
            self.config,
            self.parts.train,
            batch=min(self.config.train.batch, CALIBRATION_IMAGES),
            workers=0,
            seed=self.config.train.seed + 7919,
        )
        return iter(loader)

    def _release(self) -> None:
        if self.parts.teaching is None or not self.parts.teaching.shares:
            self._batches = []

    def _evaluates(self, epoch: int, *, last: bool) -> bool:
        train = self.config.train
        return last or (train.validate_runs and (epoch + 1) % train.eval_every == 0)

    def evaluate(self, network: Any) -> Scores:
        """Return the scores of a network on the val split."""
        p = self.parts
        device = p.accelerator.device
        fused = (
            cast("GraphDetector", network)
            .fused()
            .eval()
            .to(device=device, memory_format=torch.channels_last)
        )  # pyright: ignore[reportCallIssue]

        def predict(images: torch.Tensor) -> Predictions:
            out = fused(images)
            return fused.decode(out.raw, (int(images.shape[-2]), int(images.shape[-1])))

        return evaluate(predict, p.val_loader, p.val, device=device)

    def _lr(self) -> float:
        return float(self.parts.optimizer.param_groups[-1]["lr"])

    def _kd_share(self, epoch: int, step: int, means: LossMeans) -> float | None:
        return means.kd_share(self.parts.plan.kd(epoch, step - 1)) if self.parts.teaching else None

    # --- files -----------------------------------------------------------------------------

    def _save_best(self, scores: Scores) -> None:
        student = cast("GraphDetector", self.parts.ema.module)
        if not self.parts.accelerator.is_main_process:
            return
        meta = {
            "format": "tutelage-1",
            "arch": student.arch,
            "arch_name": student.arch_name,
            "names": list(student.names),
            "image_size": self.config.train.image_size,
            "epoch": self.best.epoch,
            "scores": self.best.scores,
            "teacher": None
            if self.record is None
            else {k: self.record[k] for k in ("source", "sha256")},
            "training": {
                "data": self.config.data,
                "epochs": self.config.train.epochs,
                "seed": self.config.train.seed,
            },
        }
        save_best(self.folder / "best.safetensors", student.state_dict(), meta)
        write_json(self.folder / "scores.json", scores.to_dict())
        write_json(self.folder / "predictions.json", scores.detections)
        save_detections(self.folder / "samples", self.parts.val, scores.detections)

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
                    "readings": self.readings,
                },
                config=self.config_text,
            )


def _headline(scores: Scores) -> dict[str, float]:
    return {
        name: float(getattr(scores, name)) for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    }


def _summary(reading: Reading) -> dict[str, Any]:
    return {
        "weights": reading.weights,
        "ratio_median": {n: float(np.median(v)) for n, v in reading.ratios.items()},
        "ratio_quartiles": {
            n: [float(q) for q in np.quantile(v, (0.25, 0.75))] for n, v in reading.ratios.items()
        },
    }


def _with_predictions(teacher: Any) -> Any:
    return lambda images: teacher(images, predictions=True)


def _new_folder(config: Config, parts: Parts) -> Path:
    data = Path(str(config.data)).stem.replace(":", "-")
    method = "-".join(parts.bare.methods) if parts.teaching else ""
    default = "-".join(
        part for part in (data, parts.student.arch_name.replace("@", "-"), method) if part
    )
    run = config.run
    return make_run_folder(Path(run.project), run.name, default, exist_ok=run.exist_ok)
