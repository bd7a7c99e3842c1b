"""All that is trained, in one module: what DDP, the optimizer, AMP and the checkpoint see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from tutelage.distill.class_mapping import Columns
from tutelage.distill.method import Method, Need, as_level_method
from tutelage.distill.response import ResponseMethod, comparable_predictions
from tutelage.distill.teacher_selection import select_images
from tutelage.distill.view import View
from tutelage.losses.criterion import Criterion
from tutelage.models.detector import Detector
from tutelage.structures import Batch, Knowledge, Losses, Output, Predictions, Tap, Targets

# What the response methods compare, by teacher and columns: those of one teacher share it.
Matches = dict[tuple[int, Columns | None], tuple[Predictions, Predictions]]


class Task(nn.Module):
    """A student, its detection loss, and the methods that compare it with teachers.

    The teachers stay outside, so that they cannot get into DDP, EMA, the optimizer or a checkpoint;
    connectors and other trainable parts of the methods are inside, so that all of these see them.

    Args:
        student: The detector to train.
        criterion: Its detection loss.
        methods: Distillation methods by name; empty for plain training.
        weights: One factor per method; may be changed between steps.
        taps: Layers of the student that the methods look at, or their keys.
        views: What each method sees; without an entry, all of the first teacher.
    """

    def __init__(
        self,
        student: Detector,
        criterion: Criterion,
        methods: Mapping[str, Method] | None = None,
        weights: Mapping[str, float] | None = None,
        taps: Sequence[str | Tap] = (),
        views: Mapping[str, View] | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.criterion = criterion
        self.methods = nn.ModuleDict(dict(methods or {}))
        self.weights = dict.fromkeys(self.methods, 1.0) | dict(weights or {})
        self.views = dict.fromkeys(self.methods, View()) | dict(views or {})
        self.taps = tuple(tap.key if isinstance(tap, Tap) else tap for tap in taps)
        self.needs_predictions = any(Need.PREDICTIONS in m.needs for m in (methods or {}).values())

    def forward(
        self,
        batch: Batch,
        teachers: Sequence[Knowledge] | None = None,
        *,
        active: Sequence[str] | None = None,
        chosen: Tensor | None = None,
        detected: int | None = None,
    ) -> Losses:
        """Return all loss terms of a floating-point batch; see :meth:`losses`."""
        out = self.student(batch.images, self.taps)
        return self.losses(out, batch, teachers, active=active, chosen=chosen, detected=detected)

    def losses(
        self,
        out: Output,
        batch: Batch,
        teachers: Sequence[Knowledge] | None,
        *,
        active: Sequence[str] | None = None,
        chosen: Tensor | None = None,
        detected: int | None = None,
    ) -> Losses:
        """Return all loss terms, given what the student returned for ``batch``.

        Args:
            out: The student's raw outputs and taps.
            batch: Floating-point images and their boxes.
            teachers: What each teacher knows about the batch; None: no KD terms.
            active: Methods that speak; None: all.
            chosen: ``(b,)`` the teacher that each image is left to; None: all teach all images.
            detected: The detection loss sees so many images, from the first on; None: all.

        Raises:
            ValueError: The student's head was not run.
        """
        if out.raw is None:
            raise ValueError("expected raw predictions, but the student stopped before its head")
        size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
        raw, targets = out.raw, batch.targets
        if detected is not None:
            raw = tuple(level[:detected] for level in raw)
            targets = Targets(*(field[targets.image < detected] for field in targets))
        detection = self.criterion(raw, targets, size)
        if detected is not None:  # the objective multiplies by all images: these add nothing
            share = detected / len(batch.images)
            detection = {name: share * value for name, value in detection.items()}
        distillation: dict[str, Tensor] = {}
        silent: list[nn.Parameter] = []
        student = None if teachers is None else self.knowledge(out, size)
        matches: Matches = {}
        for name, method in self.methods.items():
            terms = None
            if student is not None and teachers and (active is None or name in active):
                terms = self._terms(name, student, teachers, batch.targets, size, chosen, matches)
            if terms is None:
                silent += method.parameters()
                continue
            for term, value in terms.items():
                distillation[f"{name}/{term}"] = self.weights[name] * value
        if len(self.methods) and (silent or not distillation):  # parameters stay in DDP's graph
            idle = sum(p.sum() for p in silent)
            distillation["off"] = 0.0 * idle + 0.0 * detection["obj"]
        return Losses(detection, distillation)

    def balance(self) -> dict[str, list[float]]:
        """Return the weights of the pairs of maps, for methods that sum over them."""
        parts = {name: as_level_method(method) for name, method in self.methods.items()}
        return {name: part.balance.tolist() for name, part in parts.items() if part is not None}

    def rebalance(self, balance: Mapping[str, Sequence[float]]) -> None:
        """Set the weights of the pairs of maps."""
        for name, values in balance.items():
            part = as_level_method(self.methods[name])
            if part is not None:
                part.balance.copy_(torch.tensor(values))

    def compared(
        self,
        name: str,
        student: Knowledge,
        teachers: Sequence[Knowledge],
        targets: Targets,
        image_size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Return the terms of one method, its weight not applied.

        Raises:
            ValueError: It cannot compare these two networks.
        """
        terms = self._terms(name, student, teachers, targets, image_size, None, {})
        return terms if terms is not None else {}

    def knowledge(self, out: Output, image_size: tuple[int, int]) -> Knowledge:
        """Return what the methods see of the student."""
        if out.raw is None or not self.needs_predictions:
            return Knowledge(out.taps)
        return Knowledge(
            out.taps,
            self.student.decode(out.raw, image_size),
            answers=partial(self.criterion.answers, out.raw),
        )

    def _terms(
        self,
        name: str,
        student: Knowledge,
        teachers: Sequence[Knowledge],
        targets: Targets,
        size: tuple[int, int],
        chosen: Tensor | None,
        matches: Matches,
    ) -> dict[str, Tensor] | None:
        view, method = self.views[name], cast("Method", self.methods[name])
        s, t = view.of_student(student), view.of_teacher(teachers)
        boxes, share = view.of_targets(targets), 1.0
        if chosen is not None:
            images = torch.where(chosen == view.teacher)[0]
            if not len(images):
                return None
            share = len(images) / len(chosen)
            s, t, boxes = select_images(images, s, t, boxes)
        if isinstance(method, ResponseMethod):
            key = view.teacher, view.columns
            if key not in matches:
                matches[key] = comparable_predictions(s, t)
            ours, theirs = matches[key]
            s, t = s._replace(predictions=ours), t._replace(predictions=theirs)
        terms = method(s, t, boxes, size)
        return terms if chosen is None else {term: share * v for term, v in terms.items()}
