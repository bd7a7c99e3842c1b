"""The readings of a run: when the weights of the methods are measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from tutelage.structures import Batch
from tutelage.train.assemble import Parts, make_training_loader
from tutelage.train.calibrate import BATCHES, Reading, measure, with_boxes
from tutelage.train.events import Notice
from tutelage.train.plan import Plan, Position
from tutelage.train.teaching import Teaching

IMAGES = 16  # per batch: the batches of the readings stay in memory
SHOWN = 3  # batches for the pictures of a run, and for the pre-flight
LATER = (0.25, 0.5)  # of all steps; after these the weight is frozen
JUMP = 2.0  # a change of the weight worth a warning
OTHER_SEED = 7919  # readings see other augmentations than the first epoch


class Readings:
    """Measures and sets the weights of the methods with ``weight: auto``.

    Args:
        parts: The parts of the run.
        history: Readings before a resume.
        at: Where the run goes on.

    Attributes:
        batches: Batches with boxes on the run's device, as long as they are needed.
        history: What came out, for the checkpoint.
    """

    def __init__(
        self,
        parts: Parts,
        history: Sequence[dict[str, Any]] = (),
        at: Position = Position(),  # noqa: B008  (an immutable NamedTuple)
    ) -> None:
        self._parts = parts
        self.history = list(history)
        fresh, start = at == Position(), parts.plan.step_at(*at)
        automatic = parts.teaching is not None and bool(parts.teaching.shares)
        later = tuple(step for step in due_steps(parts.plan) if step > start)
        self._due = later if automatic else ()
        count = BATCHES if automatic and (fresh or later) else SHOWN
        needed = fresh or parts.teaching is not None
        self.batches = first_batches(parts, count) if needed else []

    def due(self, epoch: int, step: int) -> bool:
        """Whether the weights are to be measured after ``step`` batches of an epoch."""
        plan = self._parts.plan
        return plan.step_at(epoch, step) in self._due and plan.kd(epoch, step - 1) > 0

    def take(self, teaching: Teaching, at: Position, when: str) -> Iterator[Notice]:
        """Measure, set the weights, and tell."""
        p = self._parts
        before = dict(p.bare.weights)

        def mean(x: torch.Tensor) -> torch.Tensor:
            here = x.float().to(p.accelerator.device)  # where the processes can talk
            return cast("torch.Tensor", p.accelerator.reduce(here, "mean"))

        reading = measure(
            p.bare,
            partial(teaching.teacher, predictions=p.plan.predictions),
            self.batches,
            teaching.shares,
            mean,
        )
        if self._due and p.plan.step_at(*at) >= self._due[-1]:
            self.batches = []
        p.bare.weights.update(reading.weights)
        self.history.append({"epoch": at.epoch, "step": at.batch, **_summary(reading)})
        told = ", ".join(f"{name} × {weight:.4g}" for name, weight in reading.weights.items())
        jumped = [
            f"{name} was {before[name]:.4g}"
            for name, weight in reading.weights.items()
            if len(self.history) > 1 and not 1 / JUMP <= weight / before[name] <= JUMP
        ]
        text = f"weights measured {when}: {told}"
        if jumped:
            reason = "the balance of KD and detection gradients at the taps has moved"
            yield Notice("warning", f"{text} ({', '.join(jumped)}: {reason})")
        else:
            yield Notice("info", text)


def due_steps(plan: Plan) -> tuple[int, ...]:
    """Return the global steps after which the weights are measured again.

    At random initialisation the ratio says little: again at the end of warm-up and twice later.
    """
    total = plan.epochs * plan.steps
    return tuple(sorted({plan.warmup_steps, *(int(total * share) for share in LATER)} - {0}))


def first_batches(parts: Parts, count: int) -> list[Batch]:
    """Return ``count`` training batches with boxes, other than those that the run trains on.

    A small data set is gone through several times, each time augmented in another way.
    """
    config, device = parts.config, parts.accelerator.device
    loader = make_training_loader(
        config,
        parts.train,
        batch=min(config.train.batch, IMAGES),
        workers=0,
        stride=parts.stride,
        seed=config.train.seed + OTHER_SEED + parts.accelerator.process_index,
    )
    found: list[Batch] = []
    for epoch in range(max(2 * count // len(loader), 1)):
        loader.sampler.set_epoch(epoch)
        found += with_boxes(loader, count - len(found))
    return [Batch(b.images.to(device), b.targets.to(device), b.ids) for b in found]


def _summary(reading: Reading) -> dict[str, Any]:
    return {
        name: {
            "weight": weight,
            "ratio_quartiles": [
                float(q) for q in np.quantile(reading.ratios[name], (0.25, 0.5, 0.75))
            ],
        }
        for name, weight in reading.weights.items()
    }
