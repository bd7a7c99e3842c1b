"""What one method sees of the student and of one teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.structures import Knowledge, Predictions, Targets


class View(NamedTuple):
    """Maps, classes and boxes of the run that concern a method.

    Attributes:
        teacher: Which teacher it listens to.
        student: Positions of its maps among the student's.
        shared: Positions of its maps among that teacher's.
        columns: The student's and the teacher's class columns that mean the same; None: all, in
            order.
        labels: Classes whose boxes it looks at; None: all.
    """

    teacher: int = 0
    student: tuple[int, ...] | None = None
    shared: tuple[int, ...] | None = None
    columns: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    labels: tuple[int, ...] | None = None

    def places(self, number: int) -> tuple[int, int]:
        """Return where the maps of a pair are among the student's and the teacher's."""
        return (
            number if self.student is None else self.student[number],
            number if self.shared is None else self.shared[number],
        )

    def of_student(self, knowledge: Knowledge) -> Knowledge:
        """Return what the method sees of the student."""
        return _seen(knowledge, self.student, self.columns and self.columns[0])

    def of_teacher(self, knowledge: Sequence[Knowledge]) -> Knowledge:
        """Return what the method sees of its teacher."""
        return _seen(knowledge[self.teacher], self.shared, self.columns and self.columns[1])

    def of_targets(self, targets: Targets) -> Targets:
        """Return the boxes that it looks at."""
        if self.labels is None:
            return targets
        keep = torch.isin(targets.label, targets.label.new_tensor(self.labels))
        return Targets(*(field[keep] for field in targets))


def _seen(
    knowledge: Knowledge, maps: Sequence[int] | None, columns: Sequence[int] | None
) -> Knowledge:
    features, predictions, head, answers = knowledge
    if maps is not None:
        features = tuple(features[number] for number in maps)
    if predictions is not None and columns is not None:
        predictions = _columns(predictions, columns)
    if knowledge.head is not None:
        head = partial(_continued, knowledge.head, len(knowledge.features), maps, columns)
    if answers is not None and columns is not None:
        answers = partial(_answered, answers, columns)
    return Knowledge(features, predictions, head, answers)


def _continued(
    head: Callable[[tuple[Tensor | None, ...]], Predictions],
    taps: int,
    maps: Sequence[int] | None,
    columns: Sequence[int] | None,
    features: tuple[Tensor | None, ...],
) -> Predictions:
    """Run the rest of a teacher from the maps that the method sees."""
    given: list[Tensor | None] = [None] * taps
    for number, feature in zip(range(taps) if maps is None else maps, features, strict=True):
        given[number] = feature
    found = head(tuple(given))
    return found if columns is None else _columns(found, columns)


def _answered(
    answers: Callable[[Targets], Tensor], columns: Sequence[int], boxes: Targets
) -> Tensor:
    """Ask a student about boxes whose labels are the columns that the method sees."""
    return answers(boxes._replace(label=boxes.label.new_tensor(columns)[boxes.label]))


def _columns(predictions: Predictions, columns: Sequence[int]) -> Predictions:
    index = torch.tensor(columns, device=predictions.logits.device)
    logits = predictions.logits.index_select(-1, index)
    objectness = predictions.objectness
    if objectness is not None and len(columns) == 1 < predictions.logits.shape[-1]:
        # Of a single class, objectness alone is the score: it becomes that of this class.
        log = F.logsigmoid(objectness) + F.logsigmoid(logits[..., 0])
        objectness = log - torch.log(-torch.expm1(log).clamp(max=-1e-7))
    return predictions._replace(logits=logits, objectness=objectness)
