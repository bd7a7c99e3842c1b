"""With several teachers and ``combine: pick``: which teacher an image is distilled from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from tutelage.distill.scores import candidate_scores, class_scores
from tutelage.structures import Knowledge, Predictions, Targets

CHUNK_BOXES = 32  # boxes compared with all candidates at once; limits the memory


@torch.no_grad()
def best_teacher_per_image(
    predictions: Sequence[Predictions], columns: Sequence[Sequence[int]], targets: Targets
) -> Tensor:
    """Return ``(b,)`` the teacher with the best :func:`detection_quality` on each image.

    Args:
        predictions: Of each teacher.
        columns: Per teacher, its column of each class of the targets; -1: unknown to it.
        targets: The boxes of the batch.
    """
    qualities = [
        detection_quality(*each, targets) for each in zip(predictions, columns, strict=True)
    ]
    return torch.stack(qualities).argmax(0)


def detection_quality(predictions: Predictions, columns: Sequence[int], targets: Targets) -> Tensor:
    """Return ``(b,)`` how well a teacher detects the boxes of each image, in 0..1.

    The quality of a box is the largest IoU × score of the box's class over all candidates; that of
    an image is the mean over its boxes. Without boxes it is one minus the largest score.
    """
    images = len(predictions.xyxy)
    empty = 1 - candidate_scores(predictions).amax(1)
    if not len(targets.label):
        return empty
    column = targets.label.new_tensor(columns)[targets.label]
    scores = class_scores(predictions)
    chunks = (part.split(CHUNK_BOXES) for part in (targets.image, column, targets.xyxy))
    quality = torch.cat(
        [
            _box_quality(scores[image, :, label.clamp(min=0)], predictions.xyxy[image], xyxy)
            for image, label, xyxy in zip(*chunks, strict=True)
        ]
    ) * (column >= 0)
    count = torch.bincount(targets.image, minlength=images)
    total = quality.new_zeros(images).index_add_(0, targets.image, quality)
    return torch.where(count > 0, total / count.clamp(min=1), empty)


def _box_quality(scores: Tensor, candidates: Tensor, boxes: Tensor) -> Tensor:
    """Return ``(k,)`` the largest score × IoU of ``(k, n)`` candidates with ``(k, 4)`` boxes."""
    from torchvision.ops import box_iou  # importing it imports the compiler of torch

    overlap = torch.vmap(box_iou)(boxes[:, None].to(candidates), candidates).squeeze(1)
    return (scores * overlap).amax(1)


def select_images(
    images: Tensor, student: Knowledge, teacher: Knowledge, targets: Targets
) -> tuple[Knowledge, Knowledge, Targets]:
    """Restrict both networks' knowledge and the boxes to some images of a batch.

    Args:
        images: ``(k,)`` int64, their positions, ascending.
        student: On the whole batch.
        teacher: On the whole batch.
        targets: The boxes of the batch.
    """
    position = torch.full((len(student.features[0]),), -1, device=images.device)
    position[images] = torch.arange(len(images), device=images.device)
    image = position[targets.image]
    keep = image >= 0
    selected = Targets(image[keep], targets.label[keep], targets.xyxy[keep])
    return _select(student, images), _select(teacher, images), selected


def _select(knowledge: Knowledge, images: Tensor) -> Knowledge:
    predictions = knowledge.predictions
    if predictions is not None:
        fields = {"xyxy", "logits", "objectness", "box_raw", "bins", "known"}
        values = predictions._asdict().items()
        predictions = predictions._replace(
            **{name: x[images] for name, x in values if name in fields and x is not None}
        )
    features = tuple(feature[images] for feature in knowledge.features)
    assign = knowledge.answers and partial(_assign, knowledge.answers, images)
    return Knowledge(features, predictions, knowledge.head, assign)


def _assign(assign: Callable[[Targets], Tensor], images: Tensor, targets: Targets) -> Tensor:
    """Assign boxes, whose ``image`` counts the selected images, to the student's candidates."""
    return assign(targets._replace(image=images[targets.image]))[images]
