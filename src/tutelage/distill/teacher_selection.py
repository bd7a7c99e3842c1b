"""Several teachers: which of them knows an image best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision.ops import box_iou

from tutelage.distill.scores import candidate_scores, class_scores
from tutelage.structures import Knowledge, Predictions, Targets

BOXES = 32  # looked at at once: a candidate's corners for each take memory


@torch.no_grad()
def best_teacher(
    predictions: Sequence[Predictions], columns: Sequence[Sequence[int]], targets: Targets
) -> Tensor:
    """Return ``(b,)`` the teacher that finds the boxes of each image best.

    A box counts as well found as its best candidate: IoU × probability of the box's class; an
    image is the mean over its boxes. An image without boxes is known best by the teacher that is
    least sure of anything there.

    Args:
        predictions: What each teacher sees.
        columns: Per teacher, the column of each class of the targets; -1: it does not know it.
        targets: The boxes of the batch.
    """
    worths = [worth_per_image(p, c, targets) for p, c in zip(predictions, columns, strict=True)]
    return torch.stack(worths).argmax(0)


def worth_per_image(predictions: Predictions, columns: Sequence[int], targets: Targets) -> Tensor:
    """Return ``(b,)`` how well a teacher knows each image, in 0..1; see :func:`best_teacher`."""
    images = len(predictions.xyxy)
    empty = 1 - candidate_scores(predictions).amax(1)
    if not len(targets.label):
        return empty
    column = targets.label.new_tensor(columns)[targets.label]
    scores = class_scores(predictions)
    found = torch.cat(
        [
            _best(scores[image, :, wanted.clamp(min=0)], predictions.xyxy[image], xyxy)
            for image, wanted, xyxy in zip(
                targets.image.split(BOXES),
                column.split(BOXES),
                targets.xyxy.split(BOXES),
                strict=True,
            )
        ]
    ) * (column >= 0)
    count = torch.bincount(targets.image, minlength=images)
    total = found.new_zeros(images).index_add_(0, targets.image, found)
    return torch.where(count > 0, total / count.clamp(min=1), empty)


def _best(scores: Tensor, candidates: Tensor, boxes: Tensor) -> Tensor:
    """Return ``(k,)`` the best score × IoU of ``(k, n)`` candidates with ``(k, 4)`` boxes."""
    overlap = torch.vmap(box_iou)(boxes[:, None].to(candidates), candidates).squeeze(1)
    return (scores * overlap).amax(1)


def only(
    images: Tensor, student: Knowledge, teacher: Knowledge, targets: Targets
) -> tuple[Knowledge, Knowledge, Targets]:
    """Return what concerns some images of a batch.

    Args:
        images: ``(k,)`` int64, their positions, ascending.
        student: What it knows about the batch.
        teacher: What the teacher knows about the batch.
        targets: The boxes of the batch.
    """
    number = torch.full((len(student.features[0]),), -1, device=images.device)
    number[images] = torch.arange(len(images), device=images.device)
    keep = number[targets.image] >= 0
    left = Targets(number[targets.image[keep]], targets.label[keep], targets.xyxy[keep])
    return _of(student, images), _of(teacher, images), left


def _of(knowledge: Knowledge, images: Tensor) -> Knowledge:
    p = knowledge.predictions
    if p is not None:
        fields = {"xyxy", "logits", "objectness", "box_raw", "bins"}
        chosen = {k: v[images] for k, v in p._asdict().items() if k in fields and v is not None}
        p = p._replace(**chosen)
    features = tuple(feature[images] for feature in knowledge.features)
    answers = knowledge.answers and partial(_answered, knowledge.answers, images)
    return Knowledge(features, p, knowledge.head, answers)


def _answered(answers: Callable[[Targets], Tensor], images: Tensor, boxes: Targets) -> Tensor:
    """Ask a student about boxes whose images are counted among the chosen ones."""
    return answers(boxes._replace(image=images[boxes.image]))[images]
