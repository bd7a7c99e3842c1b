"""What the teachers add to a batch: knowledge, boxes where nobody drew any, who teaches what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.distill import best_teacher_per_image
from tutelage.distill.scores import class_scores
from tutelage.models.suppression import suppress_overlaps
from tutelage.structures import Batch, Knowledge, Predictions, Targets
from tutelage.teachers.clock import Clocked

DUPLICATE = 0.6  # IoU from which two boxes of a class are the same object


class SupervisedBatch(NamedTuple):
    """A batch and what the teachers say of it.

    Attributes:
        batch: The batch, with pseudo-boxes on images without labels.
        knowledge: What each teacher knows; None while no method speaks.
        chosen: ``(b,)`` the teacher that each image is left to; None: all teach all.
        detected: So many images, from the first on, have boxes to be found; None: all.
    """

    batch: Batch
    knowledge: tuple[Knowledge, ...] | None = None
    chosen: Tensor | None = None
    detected: int | None = None


class TeacherSupervision:
    """Asks the teachers once per batch.

    Args:
        panel: Maps images to what each teacher knows, and takes its time.
        columns: Per teacher, the column of each class of the data; -1: it does not know it.
        pick: Leave each image to the teacher that finds its boxes best.
        labelled: Images with an id from this on have no labels; None: all have.
        pseudo_label: Score from which detections count as boxes there; 1: never, so that these
            images take no part in the detection loss.
        listens: Per method, the teacher to which it listens, and whether it needs predictions.
            Teachers to which no active method listens rest. None: all are always asked.

    Attributes:
        panel: The teachers.
    """

    def __init__(
        self,
        panel: Clocked,
        columns: Sequence[Sequence[int]],
        *,
        pick: bool = False,
        labelled: int | None = None,
        pseudo_label: float = 1.0,
        listens: Mapping[str, tuple[int, bool]] | None = None,
    ) -> None:
        self.panel, self._columns, self._pick = panel, columns, pick
        self._labelled, self._score = labelled, pseudo_label
        self._listens = listens

    def __call__(self, batch: Batch, active: Sequence[str] | None = None) -> SupervisedBatch:
        """Return a floating-point batch with what the teachers say of it.

        Args:
            batch: The labelled images stand before the others.
            active: The methods that speak at this step; None: all.
        """
        speak = active is None or bool(active)
        known = len(batch.ids)
        if self._labelled is not None:
            known = int((batch.ids < self._labelled).sum())
        boxes = known < len(batch.ids) and self._score < 1
        asked = None if boxes or self._pick or active is None else self._asked(active)
        knowledge = self.panel(batch.images, asked) if speak or boxes else None
        if boxes and knowledge is not None:
            seen = [one.predictions for one in knowledge if one.predictions is not None]
            found = pseudo_boxes(seen, self._columns, self._score)
            new = found.image >= known
            batch = batch._replace(
                targets=Targets(
                    *(
                        torch.cat((old, more[new].to(old)))
                        for old, more in zip(batch.targets, found, strict=True)
                    )
                )
            )
        chosen = None
        if self._pick and knowledge is not None:
            seen = [one.predictions for one in knowledge if one.predictions is not None]
            chosen = best_teacher_per_image(seen, self._columns, batch.targets)
        detected = None if boxes or known == len(batch.ids) else known
        return SupervisedBatch(batch, knowledge if speak else None, chosen, detected)

    def _asked(self, active: Iterable[str]) -> dict[int, bool] | None:
        """Return the teachers to which some method listens, and whether for predictions."""
        if self._listens is None:
            return None
        asked: dict[int, bool] = {}
        for name in active:
            teacher, predictions = self._listens[name]
            asked[teacher] = asked.get(teacher, False) or predictions
        return asked


@torch.no_grad()
def pseudo_boxes(
    predictions: Sequence[Predictions], columns: Sequence[Sequence[int]], score: float
) -> Targets:
    """Return what the teachers are sure of as boxes of a batch, duplicates removed.

    Args:
        predictions: What each teacher sees.
        columns: Per teacher, the column of each class of the data; -1: it does not know it.
        score: From which a candidate counts.
    """
    images, labels, boxes, scores = [], [], [], []
    for seen, own in zip(predictions, columns, strict=True):
        known = [(label, column) for label, column in enumerate(own) if column >= 0]
        if not known:
            continue
        index = torch.tensor(known, device=seen.logits.device)
        best, which = class_scores(seen).index_select(-1, index[:, 1]).max(-1)
        image, candidate = torch.where(best > score)
        images.append(image)
        labels.append(index[which[image, candidate], 0])
        boxes.append(seen.xyxy[image, candidate].float())
        scores.append(best[image, candidate])
    if not images:
        none = torch.zeros(0, dtype=torch.int64)
        return Targets(none, none, torch.zeros(0, 4))
    image, label, xyxy = torch.cat(images), torch.cat(labels), torch.cat(boxes)
    group = image * (max(map(len, columns)) + 1) + label
    kept = suppress_overlaps(xyxy, torch.cat(scores), group, DUPLICATE)
    return Targets(image[kept], label[kept], xyxy[kept])
