"""When the method weights of a run are measured (``weight: auto``), and their history."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from tutelage.run.events import Notice, Stage
from tutelage.setup.build import RunParts, make_training_loader, precision_of_checks
from tutelage.setup.distillation import DistillationSetup
from tutelage.structures import Batch, Targets
from tutelage.training.freed_memory import return_freed_memory
from tutelage.training.gradient_ratio import apply_weights, measure_weights
from tutelage.training.loop import multi_scale
from tutelage.training.schedule import Position, Schedule

IMAGES = 512  # per measurement, at most: ratios of single batches may differ ninefold
BATCH = 16  # images per batch of a measurement, at most
SHOWN = 3  # batches for the sample images and the checks before training
LATER = (0.3, 0.4, 0.5)  # of all steps; after the last the weight is frozen
BALANCED = 0.5  # relative weights of pairs of maps above this are not displayed
JUMP = 2.0  # a measurement that differs by more than this factor replaces those before it
SEED_OFFSET = 7919  # measurements use other augmentations than the first epoch


class WeightMeasurements:
    """Measures and sets the weights of the methods with ``weight: auto``.

    In its first steps a network changes so much that the balance moves up to sevenfold: a weight
    measured before them pulls too hard or does nothing. So the measurements are close together at
    first and then ever further apart. Each is noisy, so that the new weight is the geometric mean
    of the measurement and of the weight before it; one that differs more than twofold replaces it,
    and the first replaces that at random initialisation in any case.

    Args:
        parts: The parts of the run.
        history: Measurements before a resume.
        position: Where the run starts or continues.

    Attributes:
        batches: A few batches with boxes on the run's device.
        history: All measurements, for the checkpoint.
        images: Training images per measurement, at most.
    """

    def __init__(
        self,
        parts: RunParts,
        history: Sequence[dict[str, Any]] = (),
        position: Position = Position(),  # noqa: B008  (an immutable NamedTuple)
    ) -> None:
        self._parts = parts
        self.history = list(history)
        new, start = position == Position(), parts.schedule.step_at(*position)
        automatic = parts.distillation is not None and bool(parts.distillation.shares)
        later = tuple(step for step in due_steps(parts.schedule) if step > start)
        self._due = later if automatic else ()
        self.images = min(IMAGES, len(parts.train))
        if self.history:  # a resumed run goes on as it began
            self.images = self.history[-1].get("images", IMAGES)
        needed = new or parts.distillation is not None
        self.batches = list(batches_with_boxes(parts, SHOWN)) if needed else []

    def due(self, epoch: int, step: int) -> bool:
        """Whether the weights are to be measured after ``step`` batches of an epoch."""
        schedule, distillation = self._parts.schedule, self._parts.distillation
        active = distillation is not None and schedule.active(distillation.shares, epoch, step - 1)
        return schedule.step_at(epoch, step) in self._due and bool(active)

    def measure(
        self, distillation: DistillationSetup, position: Position, when: str
    ) -> Iterator[Notice | Stage]:
        """Measure, set the weights and report them; all processes must call this."""
        parts, accelerator = self._parts, self._parts.accelerator
        task = parts.unwrapped_task

        def mean(x: torch.Tensor) -> torch.Tensor:
            own = x.float().to(accelerator.device)  # NCCL reduces on the device alone
            return cast("torch.Tensor", accelerator.reduce(own, "mean"))

        shares = as_measured(distillation.shares, self.history)
        number, total = len(self.history) + 1, 1 + len(due_steps(parts.schedule))
        yield Stage(f"measuring weights {number}/{max(number, total)}")
        batches = -(-self.images // accelerator.num_processes // measurement_batch(parts))
        with precision_of_checks(accelerator):
            reading = measure_weights(
                task,
                distillation.teachers,
                batches_with_boxes(parts, batches, number, position.epoch + (number > 1)),
                shares,
                mean,
                self._settle,
            )
        return_freed_memory()
        apply_weights(task, reading)
        entry: dict[str, Any] = {
            "epoch": position.epoch,
            "step": position.batch,
            "images": self.images,
            "batches": max(map(len, reading.ratios.values()), default=0),
        }
        settled = parts.schedule.step_at(*position) > parts.schedule.warmup_steps
        jumps: list[str] = []
        texts: list[str] = []
        for name, measured in reading.weights.items():
            past = self.history[-1][name] if self.history else None
            weight, count = combine(measured, past)
            if past and settled and not 1 / JUMP <= measured / past["weight"] <= JUMP:
                jumps.append(f"{name} was {past['weight']:.4g}")
            task.weights[name] = weight
            balance = list(reading.balance.get(name, ()))
            entry[name] = {
                "weight": weight,
                "count": count,
                "balance": balance,
                "measured": measured,
                "share": shares.get(name),
                "ratio_quartiles": np.quantile(reading.ratios[name], (0.25, 0.5, 0.75)).tolist(),
            }
            texts.append(f"{name} × {weight:.4g}{describe_balance(balance)}")
        self.history.append(entry)
        text = f"weights measured {when}: {', '.join(texts)}"
        if jumps:
            reason = "the balance of KD and detection gradients at the taps has moved"
            yield Notice("warning", f"{text} ({', '.join(jumps)}: {reason})", "T27")
        else:
            yield Notice("info", text)

    def ratios(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return KD's gradient over detection's at given weights, as last measured; by method."""
        last = self.history[-1] if self.history else {}
        return {
            name: weight * last[name]["ratio_quartiles"][1]
            for name, weight in weights.items()
            if "ratio_quartiles" in last.get(name, ())
        }

    def _settle(self, name: str, measured: list[float]) -> list[float]:
        """Return the balance between pairs of maps: as the weight, the mean of measurements."""
        past = self.history[-1][name] if self.history else None
        if past is None or not past.get("balance"):
            return measured
        means = [
            combine(new, {"weight": old, "count": past["count"]})[0]
            for old, new in zip(past["balance"], measured, strict=True)
        ]
        return [mean / max(means) for mean in means]


def describe_balance(balance: Sequence[float]) -> str:
    """Return the weights of pairs of maps as text; empty if they are similar."""
    if not balance or min(balance) > BALANCED:
        return ""
    return f" (maps {' : '.join(f'{weight:.2g}' for weight in balance)})"


def combine(measured: float, past: Mapping[str, Any] | None) -> tuple[float, int]:
    """Return the weight after a measurement, and how many measurements it stands on.

    Args:
        measured: The weight by this measurement alone.
        past: ``weight`` and ``count`` before; None at initialisation, whose measurement has no
            part in later weights.
    """
    if past is None:
        return measured, 0
    weight, count = past["weight"], past["count"]
    if not count or not 1 / JUMP <= measured / weight <= JUMP:
        return measured, 1
    return math.sqrt(weight * measured), count + 1


def as_measured(
    shares: Mapping[str, float], history: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Return the shares of the gradient ratio with which a run began: a default may have changed.

    Earlier versions did not store them; there they follow from the last measurement.
    """
    last = history[-1] if history else {}
    before = {
        name: entry.get("share") or round(entry["measured"] * entry["ratio_quartiles"][1], 2)
        for name, entry in last.items()
        if name in shares and {"measured", "ratio_quartiles"} <= {*entry}
    }
    return {**shares, **before}


def due_steps(schedule: Schedule) -> tuple[int, ...]:
    """Return the global steps after which to measure: ever further apart, up to mid-run.

    A quarter of the warm-up is the first; without a warm-up, a 64th of the run.
    """
    total = schedule.epochs * schedule.steps
    later = [int(total * share) for share in LATER]
    early, step = [], schedule.warmup_steps // 4 or total // 64
    while 0 < 1.5 * step <= later[0]:
        early.append(step)
        step *= 2
    return tuple(sorted({*early, *later} - {0}))


def first_images(batch: Batch, count: int = 4) -> Batch:
    """Return the first images of a batch; the whole batch if they have no box."""
    targets = Targets(*(field[batch.targets.image < count] for field in batch.targets))
    first = Batch(batch.images[:count], targets, batch.ids[:count])
    return first if len(targets.label) else batch


def measurement_batch(parts: RunParts) -> int:
    """Return the batch size of measurements per process: at most that of a training step.

    Canvases of rect batches follow from the size of the batch: views have that of training.
    """
    each = max(parts.config.train.images // parts.accelerator.num_processes, 1)
    views_on_canvases = parts.config.train.rect and parts.teaching.views is not None
    return each if views_on_canvases else min(each, BATCH)


def batches_with_boxes(
    parts: RunParts, count: int, number: int = 0, first_epoch: int = 0
) -> Iterator[Batch]:
    """Yield training batches with boxes, augmented differently from those of the run.

    A small data set is repeated with other augmentations. If images have views, they are those of
    the run from ``first_epoch`` on, so that no teacher is asked for a measurement alone.

    Args:
        parts: The parts of the run.
        count: Number of batches.
        number: Changes the seed of images without views.
        first_epoch: Where images with views start.
    """
    config, device = parts.config, parts.accelerator.device
    processes, rank = parts.accelerator.num_processes, parts.accelerator.process_index
    views, each = parts.teaching.views, measurement_batch(parts)
    loader = make_training_loader(
        config,
        parts.train,
        batch=each if views is None else each * processes,
        workers=0,
        stride=parts.stride,
        seed=None if views else config.train.seed + SEED_OFFSET + number * processes + rank,
        share=(0, 1) if views is None else (rank, processes),
        views=views,
        stores=parts.teaching.readers,
        cache=False,
    )
    resize = None
    if views is not None and config.train.multi_scale:  # a view always has its own size
        seeds = config.train.seed, config.distill.view_seed
        resize = multi_scale(config.train.image_size, parts.stride, *seeds)
    yielded = 0
    start = first_epoch if views else 0
    for epoch in range(start, start + count):  # each has such a batch, or none has
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            if yielded == count:
                return
            if len(batch.targets.label):
                yielded += 1
                batch = batch.to(device)
                yield batch if resize is None else resize(batch.floating(), 0)
        if not yielded:
            return
