"""The module that is trained: student, detection loss and distillation methods."""

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
from tutelage.structures import Knowledge, Losses, Output, Predictions, Tap, Targets
from tutelage.training.supervision import SupervisedBatch

# Comparable predictions of student and teacher, by teacher and columns, shared by the methods.
MatchedPredictions = dict[tuple[int, Columns | None], tuple[Predictions, Predictions]]


class Task(nn.Module):
    """A student, its detection loss, and the methods that compare it with teachers.

    DDP, the optimizer, AMP and checkpoints cover this module: connectors and other trainable parts
    of the methods are inside, the teachers outside.

    Args:
        student: The detector to train.
        criterion: Its detection loss.
        methods: Distillation methods by name; empty for plain training.
        weights: One factor per method; may be changed between steps.
        taps: Layers of the student that the methods compare, or their keys.
        views: Teacher, maps and classes of each method; by default all of the first teacher.
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

    def forward(self, supervised: SupervisedBatch) -> Losses:
        """Return all loss terms of a batch."""
        output = self.student(supervised.batch.images, self.taps)
        return self.losses(output, supervised)

    def losses(self, output: Output, supervised: SupervisedBatch) -> Losses:
        """Return all loss terms, given the student's output for the batch.

        Parameters of methods without a term get a zero gradient through the detection terms: DDP
        expects one for each parameter.

        Raises:
            ValueError: The student's head was not run.
        """
        detection = self._detection(output, supervised)
        distillation: dict[str, Tensor] = {}
        unused: list[nn.Parameter] = []
        student = None
        if supervised.knowledge:
            student = self.knowledge(output, supervised.batch.image_size)
        matched: MatchedPredictions = {}
        for name, method in self.methods.items():
            terms = None
            active = supervised.active is None or name in supervised.active
            if student is not None and active:
                terms = self._terms(name, student, supervised, matched)
            if terms is None:
                unused += method.parameters()
                continue
            for term, value in terms.items():
                distillation[f"{name}/{term}"] = self.weights[name] * value
        if unused:
            first = next(iter(detection))
            detection[first] = detection[first] + 0.0 * sum(p.sum() for p in unused)
        return Losses(detection, distillation)

    def method_terms(
        self, name: str, student: Knowledge, supervised: SupervisedBatch
    ) -> dict[str, Tensor]:
        """Return the terms of one method, its weight not applied.

        Raises:
            ValueError: It cannot compare these two networks.
        """
        return self._terms(name, student, supervised, {}) or {}

    def knowledge(self, output: Output, image_size: tuple[int, int]) -> Knowledge:
        """Return what the methods compare of the student."""
        if output.raw is None or not self.needs_predictions:
            return Knowledge(output.taps)
        return Knowledge(
            output.taps,
            self.student.decode(output.raw, image_size),
            answers=partial(self.criterion.answers, output.raw),
        )

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

    def _detection(self, output: Output, supervised: SupervisedBatch) -> dict[str, Tensor]:
        if output.raw is None:
            raise ValueError("expected raw predictions, but the student stopped before its head")
        batch, labelled = supervised.batch, supervised.labelled_count
        if labelled is None:
            return dict(self.criterion(output.raw, batch.targets, batch.image_size))
        raw = tuple(level[:labelled] for level in output.raw)
        targets = Targets(*(field[batch.targets.image < labelled] for field in batch.targets))
        terms = self.criterion(raw, targets, batch.image_size)
        share = labelled / len(batch.images)  # the objective multiplies by all images
        return {name: share * value for name, value in terms.items()}

    def _terms(
        self,
        name: str,
        student: Knowledge,
        supervised: SupervisedBatch,
        matched: MatchedPredictions,
    ) -> dict[str, Tensor] | None:
        """Return the terms of one method; None: no image is assigned to its teacher."""
        view, method = self.views[name], cast("Method", self.methods[name])
        batch, teacher_of_image = supervised.batch, supervised.teacher_of_image
        s, t = view.of_student(student), view.of_teacher(supervised.knowledge or ())
        targets, share = view.of_targets(batch.targets), 1.0
        if teacher_of_image is not None:
            images = torch.where(teacher_of_image == view.teacher)[0]
            if not len(images):
                return None
            share = len(images) / len(teacher_of_image)
            s, t, targets = select_images(images, s, t, targets)
        if isinstance(method, ResponseMethod):
            key = view.teacher, view.columns
            if key not in matched:
                matched[key] = comparable_predictions(s, t)
            ours, theirs = matched[key]
            s, t = s._replace(predictions=ours), t._replace(predictions=theirs)
        terms = method(s, t, targets, batch.image_size)
        return terms if share == 1 else {term: share * v for term, v in terms.items()}
