"""The readings of a run: when the weights of the methods are measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch

from tutelage.structures import Batch, Knowledge
from tutelage.train.assemble import Parts, make_training_loader
from tutelage.train.calibrate import Reading, measure, with_boxes
from tutelage.train.events import Notice
from tutelage.train.plan import Plan, Position
from tutelage.train.teaching import Teaching

IMAGES = 16  # per batch: the batches of the readings stay in memory
LATER = (0.25, 0.5)  # of all steps; after these the weight is frozen
JUMP = 2.0  # a change of the weight worth a warning
OTHER_SEED = 7919  # readings see other augmentations than the first epoch


class Readings:
    """Measures and sets the weights of the methods with ``weight: auto``.

    Args:
        parts: The parts of the run.
        history: Readings before a resume.
    """

    def __init__(self, parts: Parts, history: Sequence[dict[str, Any]] = ()) -> None:
        self._parts = parts
        self.history = list(history)
        self.batches = first_batches(parts) if parts.teaching else []
        self._due = due_steps(parts.plan) if parts.teaching and parts.teaching.shares else ()

    def due(self, epoch: int, step: int) -> bool:
        """Whether the weights are to be measured after ``step`` batches of an epoch."""
        plan = self._parts.plan
        return plan.step_at(epoch, step) in self._due and plan.kd(epoch, step - 1) > 0

    def take(self, teaching: Teaching, at: Position, when: str) -> Iterator[Notice]:
        """Measure, set the weights, and tell."""
        p = self._parts
        before = dict(p.bare.weights)

        def teacher(images: torch.Tensor) -> Knowledge:
            return teaching.teacher(images, predictions=p.plan.predictions)

        reading = measure(
            p.bare,
            teacher,
            self.batches,
            teaching.shares,
            lambda x: cast("torch.Tensor", p.accelerator.reduce(x, "mean")),
        )
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


def first_batches(parts: Parts) -> list[Batch]:
    """Return training batches with boxes on the run's device, other than those it trains on."""
    config, device = parts.config, parts.accelerator.device
    loader = make_training_loader(
        config,
        parts.train,
        batch=min(config.train.batch, IMAGES),
        workers=0,
        stride=max(parts.student.strides),
        seed=config.train.seed + OTHER_SEED + parts.accelerator.process_index,
    )
    return [Batch(b.images.to(device), b.targets.to(device), b.ids) for b in with_boxes(loader)]


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
