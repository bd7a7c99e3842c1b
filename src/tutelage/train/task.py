"""All that is trained, in one module: what DDP, the optimizer, AMP and the checkpoint see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from tutelage.distill.method import Method, Need
from tutelage.losses.criterion import Criterion
from tutelage.models.detector import Detector
from tutelage.structures import Batch, Knowledge, Losses, Output


class Task(nn.Module):
    """A student, its detection loss, and the methods that compare it with a teacher.

    The teacher stays outside, so that it cannot get into DDP, EMA, the optimizer or a checkpoint;
    connectors and other trainable parts of the methods are inside, so that all of these see them.

    Args:
        student: The detector to train.
        criterion: Its detection loss.
        methods: Distillation methods by name; empty for plain training.
        weights: One factor per method; may be changed between steps.
        taps: Layer keys of the student that the methods look at, in pair order.
    """

    def __init__(
        self,
        student: Detector,
        criterion: Criterion,
        methods: Mapping[str, Method] | None = None,
        weights: Mapping[str, float] | None = None,
        taps: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.methods = nn.ModuleDict(dict(methods or {}))
        self.weights = dict.fromkeys(self.methods, 1.0) | dict(weights or {})
        self.taps = tuple(taps)
        self.needs_predictions = any(Need.PREDICTIONS in m.needs for m in (methods or {}).values())

    def forward(self, batch: Batch, teacher: Knowledge | None = None) -> Losses:
        """Return all loss terms of a floating-point batch; without ``teacher`` no KD terms."""
        return self.losses(self.student(batch.images, self.taps), batch, teacher)

    def losses(self, out: Output, batch: Batch, teacher: Knowledge | None) -> Losses:
        """Return all loss terms, given what the student returned for ``batch``.

        Raises:
            ValueError: The student's head was not run.
        """
        if out.raw is None:
            raise ValueError("expected raw predictions, but the student stopped before its head")
        size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
        detection = self.criterion(out.raw, batch.targets, size)
        distillation = {}
        if teacher is not None:
            student = self.knowledge(out, size)
            for name, method in self.methods.items():
                for term, value in method(student, teacher, batch.targets, size).items():
                    distillation[f"{name}/{term}"] = self.weights[name] * value
        elif len(self.methods):  # KD has stopped: keep its parameters in DDP's graph
            idle = sum(p.sum() for p in self.methods.parameters())
            distillation["off"] = 0.0 * idle + 0.0 * detection["obj"]
        return Losses(detection, distillation)

    def knowledge(self, out: Output, image_size: tuple[int, int]) -> Knowledge:
        """Return what the methods see of the student."""
        raw = out.raw if self.needs_predictions else None
        return Knowledge(out.taps, None if raw is None else self.student.decode(raw, image_size))
