"""The features, classes and boxes that one method compares: a subset of those of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.distill.class_mapping import Columns
from tutelage.structures import Knowledge, Predictions, Targets


class View(NamedTuple):
    """Selects what a method compares from all that student and teachers share.

    Attributes:
        teacher: Number of its teacher.
        student_maps: Positions of its maps among the student's; None: all.
        teacher_maps: Positions of its maps among that teacher's; None: all.
        columns: Class columns of student and teacher that mean the same; None: all, in order.
        labels: Classes of the boxes it is given; None: all.
        threshold: Its teacher's detections that score less are background to a student with other
            candidates; None: not measured.
    """

    teacher: int = 0
    student_maps: tuple[int, ...] | None = None
    teacher_maps: tuple[int, ...] | None = None
    columns: Columns | None = None
    labels: tuple[int, ...] | None = None
    threshold: float | None = None

    def map_positions(self, pair: int) -> tuple[int, int]:
        """Return the positions of a pair's maps among the student's and the teacher's."""
        return (
            pair if self.student_maps is None else self.student_maps[pair],
            pair if self.teacher_maps is None else self.teacher_maps[pair],
        )

    def of_student(self, knowledge: Knowledge) -> Knowledge:
        """Return the method's part of the student's knowledge."""
        return _select(knowledge, self.student_maps, self.columns and self.columns[0])

    def of_teacher(self, knowledge: Sequence[Knowledge]) -> Knowledge:
        """Return the method's part of its teacher's knowledge."""
        own = knowledge[self.teacher]._replace(threshold=self.threshold)
        return _select(own, self.teacher_maps, self.columns and self.columns[1])

    def of_targets(self, targets: Targets) -> Targets:
        """Return the boxes of its classes."""
        if self.labels is None:
            return targets
        keep = torch.isin(targets.label, targets.label.new_tensor(self.labels))
        return Targets(*(field[keep] for field in targets))


def _select(
    knowledge: Knowledge, maps: Sequence[int] | None, columns: Sequence[int] | None
) -> Knowledge:
    features, predictions, head, assign, threshold = knowledge
    if maps is not None:
        features = tuple(features[number] for number in maps)
    if predictions is not None and columns is not None:
        predictions = _select_classes(predictions, columns)
    if head is not None:
        head = partial(_run_head, head, len(knowledge.features), maps, columns)
    if assign is not None and columns is not None:
        assign = partial(_assign, assign, columns)
    return Knowledge(features, predictions, head, assign, threshold)


def _run_head(
    head: Callable[[tuple[Tensor | None, ...]], Predictions],
    taps: int,
    maps: Sequence[int] | None,
    columns: Sequence[int] | None,
    features: tuple[Tensor | None, ...],
) -> Predictions:
    """Run the rest of a teacher, given the method's maps."""
    inputs: list[Tensor | None] = [None] * taps
    for number, feature in zip(range(taps) if maps is None else maps, features, strict=True):
        inputs[number] = feature
    predictions = head(tuple(inputs))
    return predictions if columns is None else _select_classes(predictions, columns)


def _assign(
    assign: Callable[[Targets], Tensor], columns: Sequence[int], targets: Targets
) -> Tensor:
    """Assign boxes, whose labels count the selected columns, to the student's candidates."""
    return assign(targets._replace(label=targets.label.new_tensor(columns)[targets.label]))


def _select_classes(predictions: Predictions, columns: Sequence[int]) -> Predictions:
    index = torch.tensor(columns, device=predictions.logits.device)
    logits = predictions.logits.index_select(-1, index)
    objectness = predictions.objectness
    if objectness is not None and len(columns) == 1 < predictions.logits.shape[-1]:
        # With one class the objectness is the score: it becomes the product of both.
        log = F.logsigmoid(objectness) + F.logsigmoid(logits[..., 0])
        objectness = log - torch.log(-torch.expm1(log).clamp(max=-1e-7))
    return predictions._replace(logits=logits, objectness=objectness)
