"""The readings of a run: when the weights of the methods are measured, and what came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from tutelage.run.events import Notice
from tutelage.setup.build import RunParts, make_training_loader
from tutelage.setup.distillation import DistillationSetup
from tutelage.structures import Batch, Targets
from tutelage.train.gradient_ratio import apply_weights, measure_weights
from tutelage.train.schedule import Position, Schedule

IMAGES = 512  # per reading: ratios of single batches differ ninefold
BATCH = 16  # images per batch of a reading, at most
SHOWN = 3  # batches for the pictures of a run, and for the pre-flight
LATER = (0.3, 0.4, 0.5)  # of all steps; after these the weight is frozen
NEAR = 0.5  # pairs of maps whose weights differ less than this need no mention
JUMP = 2.0  # a reading that differs more from those before it replaces them
OTHER_SEED = 7919  # readings see other augmentations than the first epoch


class WeightMeasurements:
    """Measures and sets the weights of the methods with ``weight: auto``.

    At random initialisation the ratio says little and holds for the warm-up alone. From there on
    the weight is the geometric mean of the readings: each is noisy, and the true ratio drifts
    slowly, so that the mean is what agrees between seeds. A reading more than twofold away from it
    means that the balance has moved: it replaces the ones before.

    Args:
        parts: The parts of the run.
        history: Readings before a resume.
        at: Where the run goes on.

    Attributes:
        batches: A few batches with boxes on the run's device.
        history: What came out, for the checkpoint.
    """

    def __init__(
        self,
        parts: RunParts,
        history: Sequence[dict[str, Any]] = (),
        at: Position = Position(),  # noqa: B008  (an immutable NamedTuple)
    ) -> None:
        self._parts = parts
        self.history = list(history)
        fresh, start = at == Position(), parts.schedule.step_at(*at)
        automatic = parts.distillation is not None and bool(parts.distillation.shares)
        later = tuple(step for step in due_steps(parts.schedule) if step > start)
        self._due = later if automatic else ()
        needed = fresh or parts.distillation is not None
        self.batches = list(batches_with_boxes(parts, SHOWN)) if needed else []

    def due(self, epoch: int, step: int) -> bool:
        """Whether the weights are to be measured after ``step`` batches of an epoch."""
        schedule, distillation = self._parts.schedule, self._parts.distillation
        active = distillation is not None and schedule.active(distillation.shares, epoch, step - 1)
        return schedule.step_at(epoch, step) in self._due and bool(active)

    def take(self, distillation: DistillationSetup, at: Position, when: str) -> Iterator[Notice]:
        """Measure, set the weights, and tell."""
        p = self._parts

        def mean(x: torch.Tensor) -> torch.Tensor:
            here = x.float().to(p.accelerator.device)  # where the processes can talk
            return cast("torch.Tensor", p.accelerator.reduce(here, "mean"))

        images = -(-IMAGES // p.accelerator.num_processes)
        reading = measure_weights(
            p.bare,
            distillation.teachers,
            batches_with_boxes(p, -(-images // reading_batch(p)), 1 + len(self.history)),
            distillation.shares,
            mean,
            self._settle,
        )
        apply_weights(p.bare, reading)
        entry: dict[str, Any] = {"epoch": at.epoch, "step": at.batch}
        moved: list[str] = []
        for name, found in reading.weights.items():
            past = self.history[-1][name] if self.history else None
            weight, count = combine(found, past)
            if past and not 1 / JUMP <= found / past["weight"] <= JUMP:
                moved.append(f"{name} was {past['weight']:.4g}")
            p.bare.weights[name] = weight
            quartiles = [float(q) for q in np.quantile(reading.ratios[name], (0.25, 0.5, 0.75))]
            entry[name] = {
                "weight": weight,
                "count": count,
                "balance": list(reading.balance.get(name, ())),
                "measured": found,
                "ratio_quartiles": quartiles,
            }
        self.history.append(entry)
        told = ", ".join(
            f"{name} × {entry[name]['weight']:.4g}{describe_balance(entry[name]['balance'])}"
            for name in reading.weights
        )
        text = f"weights measured {when}: {told}"
        if moved:
            reason = "the balance of KD and detection gradients at the taps has moved"
            yield Notice("warning", f"{text} ({', '.join(moved)}: {reason})", "T27")
        else:
            yield Notice("info", text)

    def _settle(self, name: str, found: list[float]) -> list[float]:
        """Return the balance between pairs of maps: like the weight, the mean of the readings."""
        past = self.history[-1][name] if self.history else None
        if past is None or not past.get("balance"):
            return found
        means = [
            combine(new, {"weight": old, "count": past["count"]})[0]
            for old, new in zip(past["balance"], found, strict=True)
        ]
        return [mean / max(means) for mean in means]


def describe_balance(balance: Sequence[float]) -> str:
    """Return the balance between pairs of maps in words; nothing where they are near each other."""
    if not balance or min(balance) > NEAR:
        return ""
    return f" (maps {' : '.join(f'{weight:.2g}' for weight in balance)})"


def combine(found: float, past: Mapping[str, Any] | None) -> tuple[float, int]:
    """Return the weight after a reading, and the number of readings that it is the mean of.

    Args:
        found: The weight that this reading alone gives.
        past: ``weight`` and ``count`` after the reading before; None at initialisation, whose
            reading counts for nothing later.
    """
    if past is None:
        return found, 0
    count = past["count"] if 1 / JUMP <= found / past["weight"] <= JUMP else 0
    return _averaged(past["weight"], found, count), count + 1


def _averaged(mean: float, new: float, count: int) -> float:
    """Return the geometric mean of a new reading and ``count`` whose mean is known."""
    return math.exp((count * math.log(mean) + math.log(new)) / (count + 1))


def due_steps(schedule: Schedule) -> tuple[int, ...]:
    """Return the global steps after which the weights are measured again.

    At the end of warm-up, and a few times up to the middle of the run.
    """
    total, warm = schedule.epochs * schedule.steps, schedule.warmup_steps
    later = (int(total * share) for share in LATER)
    return tuple(sorted({warm, *(step for step in later if step > warm)} - {0}))


def few(batch: Batch, count: int = 4) -> Batch:
    """Return the first images of a batch, enough to prove wiring; all if they hold no box."""
    targets = Targets(*(field[batch.targets.image < count] for field in batch.targets))
    first = Batch(batch.images[:count], targets, batch.ids[:count])
    return first if len(targets.label) else batch


def reading_batch(parts: RunParts) -> int:
    """Return how many images a process looks at at once: no more than a training step does."""
    return min(max(parts.config.train.images // parts.accelerator.num_processes, 1), BATCH)


def batches_with_boxes(parts: RunParts, count: int, number: int = 0) -> Iterator[Batch]:
    """Yield ``count`` training batches with boxes, other than those that the run trains on.

    A small data set is gone through several times, each time augmented in another way.

    Args:
        parts: The parts of the run.
        count: How many.
        number: Another number gives other batches.
    """
    config, device = parts.config, parts.accelerator.device
    processes, rank = parts.accelerator.num_processes, parts.accelerator.process_index
    loader = make_training_loader(
        config,
        parts.train,
        batch=reading_batch(parts),
        workers=0,
        stride=parts.stride,
        seed=config.train.seed + OTHER_SEED + number * processes + rank,
    )
    yielded = 0
    for epoch in range(count):  # every one of them holds at least one such batch, or none does
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            if yielded == count:
                return
            if len(batch.targets.label):
                yielded += 1
                yield batch.to(device)
        if not yielded:
            return
