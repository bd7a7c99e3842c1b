"""What a run is watched for while it goes on: faults that no check before it can see."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from tutelage.data import read_image
from tutelage.data.dataset import DetectionDataset
from tutelage.data.unlabelled import MixedDataset
from tutelage.errors import DataError, TrainingError
from tutelage.run.events import EpochDone, Evaluated, Event, Notice, StepDone
from tutelage.run.kd_weights import due_steps
from tutelage.run.monitors.pace import PaceMonitor
from tutelage.run.preflight.teacher_scores import VAL_IMAGES
from tutelage.setup.build import RunParts
from tutelage.teachers import fingerprint
from tutelage.train.schedule import Schedule

# Relative, over three epoch means. In 41 runs of 14 methods no term ever moved by less than 2e-3.
STILL = 1e-4
# KD / detection. In those runs 0.16 to 4 once the weight was frozen; 2 to 3 were common and among
# the best, so that twice the detection loss is no fault. Weights meant for another reduction are
# wrong by factors of 1e3 to 1e6.
USUAL = (0.01, 10.0)
HOPELESS = (1e-4, 100.0)
HOPELESS_STEPS = 100  # of all steps done, before a run is ended for it
SKIPPED = 0.05  # of the steps of an epoch
LISTED = 10  # images that cannot be read any more, in one line
SEARCHING = 8  # steps that a gradient scaler may need to find its first scale


class Monitor(Protocol):
    """Sees every event of a run and may have something to say."""

    def see(self, event: Event) -> Notice | None:
        """Take in one event."""


def watched(events: Iterator[Event], parts: RunParts) -> Iterator[Event]:
    """Pass the events of a run on, each followed by what the watchers have to say about it.

    Args:
        events: The events.
        parts: The parts of the run.

    Raises:
        TrainingError: The run would teach nothing, or its processes have drifted apart.
    """
    watchers: list[Monitor] = [
        SkippedStepMonitor(parts),
        LostImageMonitor(parts.loader.dataset),
        PaceMonitor(parts.config.train.device, parts.accelerator.device, parts.schedule.steps),
    ]
    if parts.distillation is not None:
        fixed = set(parts.bare.methods) - set(parts.distillation.shares)
        watchers += [
            ConstantTermMonitor(parts.bare.weights),
            LossShareMonitor(parts.bare.weights, fixed, parts.schedule),
            TeacherPassedMonitor(parts.distillation.records, len(parts.val)),
            DistillationEndMonitor(parts.schedule, parts.bare.methods),
            RankMonitor(parts.accelerator, parts.bare.methods),
        ]
    for event in events:
        yield event
        yield from (notice for w in watchers if (notice := w.see(event)) is not None)


class ConstantTermMonitor:
    """Warns of a term that does not move: its modules do not train, or the teacher is constant.

    Args:
        weights: The weight per method, as it is at any time.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._past: dict[str, deque[float]] = {}

    def see(self, event: Event) -> Notice | None:
        """Compare an epoch's means with those of the two before."""
        if not isinstance(event, EpochDone):
            return None
        still: list[str] = []
        for name, (method, value) in _terms(event).items():
            past = self._past.setdefault(name, deque(maxlen=3))
            past.append(value / self._weights[method])
            if len(past) == 3 and max(past) - min(past) <= STILL * abs(past[-1]):
                still.append(name)
                past.clear()  # told again after three more epochs, if it lasts
        if not still:
            return None
        return Notice(
            "warning",
            f"{', '.join(still)} did not change over 3 epochs: either nothing trains behind it, "
            "or the teacher says the same of every image.",
            "T30",
        )


class LossShareMonitor:
    """Watches how much each method adds to the loss.

    A fixed weight is judged after warm-up. With ``weight: auto`` the ratio of the gradients is what
    was asked for, and the share of the loss follows from how steep the method's formula is: once
    the weight is frozen, only a share is told that would end a run with a fixed one. A decay by
    schedule is wanted and left out.

    Args:
        weights: The weight per method, as it is at any time.
        fixed: Methods whose weight was given as a number.
        schedule: The schedule.
    """

    def __init__(self, weights: Mapping[str, float], fixed: set[str], schedule: Schedule) -> None:
        self._weights, self._fixed, self._schedule = weights, fixed, schedule
        self._frozen = max(schedule.warmup_steps, *due_steps(schedule), 0)
        self._told: set[str] = set()

    def see(self, event: Event) -> Notice | None:
        """Judge an epoch's means.

        Raises:
            TrainingError: A method with a fixed weight does nothing, or nothing else counts.
        """
        if not isinstance(event, EpochDone):
            return None
        begun = self._schedule.step_at(event.epoch, 0)
        detection = sum(value for name, value in event.losses.items() if "/" not in name)
        sums: dict[str, float] = {}
        for method, value in _terms(event).values():
            sums[method] = sums.get(method, 0.0) + value
        said: list[str] = []
        for method, value in sums.items():
            fixed, share = method in self._fixed, value / max(detection, 1e-30)
            if begun < (self._schedule.warmup_steps if fixed else self._frozen):
                continue
            what = (
                f"{method} adds {share:.2g} times the detection loss "
                f"(weight {self._weights[method]:.4g})"
            )
            late = begun + self._schedule.steps >= HOPELESS_STEPS
            if fixed and late and not HOPELESS[0] <= share <= HOPELESS[1]:
                raise TrainingError(
                    f"{what}: {'it teaches nothing' if share < 1 else 'nothing else counts'}.",
                    fix=f"Let it be measured:  --method {method}  without a weight. Published "
                    "weights belong to their own reduction:  tutelage methods",
                    code="T27",
                )
            low, high = USUAL if fixed else HOPELESS
            if method not in self._told and not low <= share <= high:
                said.append(f"{what}; {low:g} to {high:g} times is usual")
                self._told.add(method)
        if not said:
            return None
        text = f"{', '.join(said)}. tutelage doctor  measures what suits."
        return Notice("warning", text, "T27")


class TeacherPassedMonitor:
    """Warns when the student has become better than its best teacher.

    Args:
        records: Hold each teacher's scores, unless it could not be judged.
        images: Number of val images.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], images: int) -> None:
        known = [record["scores"]["AP"] for record in records if record.get("scores")]
        self._best = max(known, default=None)
        self._note = f" on {VAL_IMAGES} val images" if images > VAL_IMAGES else ""

    def see(self, event: Event) -> Notice | None:
        """Compare an evaluation with the teacher's."""
        if not isinstance(event, Evaluated) or self._best is None:
            return None
        student, teacher = event.scores["AP"], self._best
        if not student > teacher or f"{student:.3f}" == f"{teacher:.3f}":  # nothing to see in it
            return None
        self._best = None  # told once
        return Notice(
            "warning",
            f"The student (AP {student:.3f}) has passed the teacher ({teacher:.3f}{self._note}), "
            f"which may hold it back from here on. Next time: a better teacher, or  "
            f"--set distill.stop_epoch={event.epoch + 1}",
            "T30",
        )


class DistillationEndMonitor:
    """Says when distillation ends before the run does.

    Args:
        schedule: The schedule.
        methods: The names of the methods.
    """

    def __init__(self, schedule: Schedule, methods: Iterable[str]) -> None:
        self._schedule, self._methods = schedule, tuple(methods)

    def see(self, event: Event) -> Notice | None:
        """Look whether the next epoch goes on with the teacher."""
        if not isinstance(event, EpochDone) or event.epoch + 1 >= self._schedule.epochs:
            return None
        now, then = (
            self._schedule.active(self._methods, epoch, 0)
            for epoch in (event.epoch, event.epoch + 1)
        )
        if not now or then:
            return None
        text = f"Distillation ends after epoch {event.epoch + 1}: the teacher rests from here on."
        return Notice("info", text)


class SkippedStepMonitor:
    """Warns when the gradient scaler of float16 leaves out many steps: training stands still.

    Args:
        parts: Have the accelerator and the optimizer.
    """

    def __init__(self, parts: RunParts) -> None:
        self._accelerator, self._optimizer = parts.accelerator, parts.optimizer
        self._taken = self._skipped = 0

    def see(self, event: Event) -> Notice | None:
        """Count the steps of an epoch."""
        if isinstance(event, StepDone) and self._accelerator.sync_gradients:
            self._taken += 1
            self._skipped += bool(getattr(self._optimizer, "step_was_skipped", False))
        if not isinstance(event, EpochDone):
            return None
        taken, skipped = self._taken, self._skipped
        self._taken = self._skipped = 0
        if skipped <= max(SKIPPED * taken, SEARCHING):
            return None
        return Notice(
            "warning",
            f"{skipped} of {taken} steps of epoch {event.epoch + 1} were skipped by the gradient "
            "scaler: gradients overflow in float16, and nothing is learnt from these steps. "
            "Use  --precision bf16  or  fp32",
            "R25",
        )


class LostImageMonitor:
    """Tells of each image that cannot be read any more, once.

    Args:
        dataset: The training images.
    """

    def __init__(self, dataset: DetectionDataset | MixedDataset) -> None:
        self._dataset = dataset
        self._told: set[Path] = set()

    def see(self, event: Event) -> Notice | None:
        """Look whether there are more than before."""
        if not isinstance(event, StepDone | EpochDone):
            return None
        new = [path for path in self._dataset.unreadable if path not in self._told]
        if not new:
            return None
        self._told.update(new)
        more = f"; and {len(new) - LISTED} more" if new[LISTED:] else ""
        reasons = "; ".join(map(_why_unreadable, new[:LISTED]))
        text = f"{reasons}{more}. Other images are used instead."
        return Notice("warning", text, "D27")


class RankMonitor:
    """Proves after every epoch that all processes hold the same methods.

    Args:
        accelerator: Of the run.
        methods: The methods.
    """

    def __init__(self, accelerator: Accelerator, methods: nn.Module) -> None:
        self._accelerator, self._methods = accelerator, methods

    def see(self, event: Event) -> Notice | None:
        """Compare.

        Raises:
            TrainingError: They differ.
        """
        if isinstance(event, EpochDone):
            check_ranks(self._accelerator, self._methods, f"after epoch {event.epoch + 1}")
        return None


def check_ranks(accelerator: Accelerator, methods: nn.Module, when: str) -> None:
    """Compare a checksum of the methods' parameters between processes.

    Raises:
        TrainingError: It differs: gradients are not averaged, and each process trains its own.
    """
    if accelerator.num_processes == 1:
        return
    digest = fingerprint((name, p.data) for name, p in methods.named_parameters())
    mine = torch.tensor([int(digest[:15], 16)], device=accelerator.device)
    found = accelerator.gather(mine)
    if len(set(found.tolist())) > 1:  # pyright: ignore[reportAttributeAccessIssue]
        raise TrainingError(
            f"The parameters of the methods differ between processes {when}.",
            fix="A method must not change its parameters other than by their gradients.",
            code="R27",
        )


def _why_unreadable(path: Path) -> str:
    try:
        read_image(path)
    except DataError as error:
        return error.what
    return f"{path} is not as it was when it was scanned"


def _terms(event: EpochDone) -> dict[str, tuple[str, float]]:
    """Return method and mean of every distillation term."""
    return {
        name: (name.partition("/")[0], value) for name, value in event.losses.items() if "/" in name
    }
