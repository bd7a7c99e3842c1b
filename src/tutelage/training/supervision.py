"""Adds to a batch what the teachers provide: their knowledge, pseudo-boxes, a teacher per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.distill import best_teacher_per_image
from tutelage.distill.scores import class_scores
from tutelage.models.suppression import suppress_overlaps
from tutelage.structures import Batch, Knowledge, Predictions, Targets
from tutelage.teachers import Teachers

DUPLICATE_IOU = 0.6  # boxes of one class that overlap this much are one object


class SupervisedBatch(NamedTuple):
    """A batch and all that its losses are computed from.

    Attributes:
        batch: Floating-point images and boxes, with pseudo-boxes on images without labels.
        knowledge: The knowledge of each teacher; None: no distillation terms.
        active: The methods with a non-zero weight at this step; None: all.
        teacher_of_image: ``(b,)`` number of the only teacher of each image; None: all teach all.
        labelled_count: The detection loss covers so many images, from the first on; None: all.
    """

    batch: Batch
    knowledge: Sequence[Knowledge] | None = None
    active: Sequence[str] | None = None
    teacher_of_image: Tensor | None = None
    labelled_count: int | None = None


class TeacherSupervision:
    """Makes supervised batches; runs the teachers at most once per batch.

    Args:
        teachers: The teachers.
        columns: Per teacher, the column of each class of the data; -1: the teacher lacks it.
        pick: Assign each image to the teacher that detects its boxes best.
        first_unlabelled: Images with an id from this on have no labels; None: all have.
        pseudo_label: Minimum score of pseudo-boxes on these images; 1: none, and the images take no
            part in the detection loss.
        needs: Per method, the number of its teacher, and whether it needs predictions. Teachers
            without an active method are not run. None: all are always run.
    """

    def __init__(
        self,
        teachers: Teachers,
        columns: Sequence[Sequence[int]],
        *,
        pick: bool = False,
        first_unlabelled: int | None = None,
        pseudo_label: float = 1.0,
        needs: Mapping[str, tuple[int, bool]] | None = None,
    ) -> None:
        self.teachers, self._columns, self._pick = teachers, columns, pick
        self._first_unlabelled, self._min_score = first_unlabelled, pseudo_label
        self._needs = needs

    def __call__(self, batch: Batch, active: Sequence[str] | None = None) -> SupervisedBatch:
        """Return a floating-point batch with what the teachers add to it.

        Args:
            batch: The labelled images precede the others.
            active: The methods with a non-zero weight at this step; None: all.
        """
        distils = active is None or bool(active)
        labelled = len(batch.ids)
        if self._first_unlabelled is not None:
            labelled = int((batch.ids < self._first_unlabelled).sum())
        pseudo = labelled < len(batch.ids) and self._min_score < 1
        knowledge, teacher_of_image = None, None
        if distils or pseudo:
            knowledge = self.teachers(batch, None if pseudo else self._wanted(active))
            predictions = [one.predictions for one in knowledge if one.predictions is not None]
            if pseudo:
                boxes = pseudo_boxes(predictions, self._columns, self._min_score)
                batch = batch._replace(targets=_added(batch.targets, boxes, labelled))
            if self._pick:
                teacher_of_image = best_teacher_per_image(predictions, self._columns, batch.targets)
        return SupervisedBatch(
            batch,
            knowledge if distils else None,
            active,
            teacher_of_image,
            None if pseudo or labelled == len(batch.ids) else labelled,
        )

    def _wanted(self, active: Sequence[str] | None) -> dict[int, bool] | None:
        """Return the teachers of active methods, and whether they must predict; None: all."""
        if self._pick or self._needs is None or active is None:
            return None
        wanted: dict[int, bool] = {}
        for name in active:
            teacher, predictions = self._needs[name]
            wanted[teacher] = wanted.get(teacher, False) or predictions
        return wanted


def _added(targets: Targets, boxes: Targets, first: int) -> Targets:
    """Return targets with the boxes of the images from ``first`` on added."""
    new = boxes.image >= first
    pairs = zip(targets, boxes, strict=True)
    return Targets(*(torch.cat((old, more[new].to(old))) for old, more in pairs))


@torch.no_grad()
def pseudo_boxes(
    predictions: Sequence[Predictions], columns: Sequence[Sequence[int]], min_score: float
) -> Targets:
    """Return the teachers' confident predictions as boxes of a batch, duplicates removed.

    Args:
        predictions: The predictions of each teacher.
        columns: Per teacher, the column of each class of the data; -1: the teacher lacks it.
        min_score: Candidates with a higher score become boxes.
    """
    images, labels, boxes, scores = [], [], [], []
    for prediction, own in zip(predictions, columns, strict=True):
        shared = [(label, column) for label, column in enumerate(own) if column >= 0]
        if not shared:
            continue
        index = torch.tensor(shared, device=prediction.logits.device)
        best, which = class_scores(prediction).index_select(-1, index[:, 1]).max(-1)
        image, candidate = torch.where(best > min_score)
        images.append(image)
        labels.append(index[which[image, candidate], 0])
        boxes.append(prediction.xyxy[image, candidate].float())
        scores.append(best[image, candidate])
    if not images:
        none = torch.zeros(0, dtype=torch.int64)
        return Targets(none, none, torch.zeros(0, 4))
    image, label, xyxy = torch.cat(images), torch.cat(labels), torch.cat(boxes)
    group = image * (max(map(len, columns)) + 1) + label
    kept = suppress_overlaps(xyxy, torch.cat(scores), group, DUPLICATE_IOU)
    return Targets(image[kept], label[kept], xyxy[kept])
