"""The teacher's detections at the student's candidates, for a teacher with another head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tutelage.distill.iou_loss import overlap_loss
from tutelage.distill.scores import candidate_scores
from tutelage.models.suppression import suppress_overlaps
from tutelage.structures import Predictions, Targets

MAX_DETECTIONS = 100  # of the teacher, per image
MIN_SCORE = 0.05  # of a detection, if none was measured
NMS_IOU = 0.6
BACKGROUND_LOGIT = -7.0  # of a candidate without a detection: a probability of one in a thousand
CLASS_EPS = 1e-4  # class probabilities given an object stay this far from 0 and 1


@torch.no_grad()
def match_candidates(
    student: Predictions,
    teacher: Predictions,
    assign: Callable[[Targets], Tensor],
    threshold: float | None = None,
) -> Predictions:
    """Put the teacher's detections at the student's candidates that are assigned to them.

    The assignment is that of the student's detection loss, with the detections as ground truth, so
    that the two losses do not pull one candidate in two directions. An assigned candidate gets the
    box of its detection, and its scores times the overlap of the candidate's own box with it: as
    in the detection loss, the candidate that fits best shall score most. Every other one is
    background and keeps its own box. For a student with objectness, class scores without
    objectness are split into objectness and class probabilities given an object.

    What a score means differs between families: FCOS gives 0.15 to background everywhere, where
    a YOLO gives 0.001. Hence the threshold is the teacher's own.

    Args:
        student: ``(b, n)`` candidates.
        teacher: ``(b, m)`` candidates of any head, with the same classes.
        assign: Maps boxes to the box that each candidate of the student is assigned to, ``(b, n)``,
            -1: none.
        threshold: A detection that scores no more is background; None: ``MIN_SCORE``.

    Returns:
        Constant predictions at the student's candidates, without raw box outputs and bins.
    """
    least = MIN_SCORE if threshold is None else threshold
    boxes, logits, objectness, valid = _detections(teacher, least)
    image, number = valid.nonzero().unbind(1)
    target = assign(Targets(image, logits.argmax(-1)[image, number], boxes[image, number]))
    assigned = target >= 0
    # One more element, so that -1 is a valid index also without any detection.
    detection = torch.cat((number, number.new_zeros(1)))[target]

    def place(values: Tensor, background: Tensor) -> Tensor:
        return torch.where(assigned[..., None], _gather(values, detection), background)

    own = student.xyxy.detach().to(boxes)
    placed = place(boxes, own)
    fit = 1 - overlap_loss(own, placed, "iou")
    if student.objectness is not None and objectness is None:
        scores = logits.sigmoid()
        best = scores.amax(-1, keepdim=True)
        objectness = best.squeeze(-1).logit(1e-6)
        logits = (scores / best.clamp(min=1e-12)).logit(CLASS_EPS)
    background = logits.new_full((), BACKGROUND_LOGIT)
    logits = place(logits, background)
    if student.objectness is None or objectness is None:
        logits, objectness = _scaled(logits, fit[..., None]), None
    else:
        objectness = _scaled(place(objectness[..., None], background).squeeze(-1), fit)
    return Predictions(
        xyxy=placed,
        logits=logits,
        objectness=objectness,
        level=student.level,
        grids=student.grids,
    )


def _scaled(logits: Tensor, factor: Tensor) -> Tensor:
    """Return the logits of probabilities times a factor, none below the background's."""
    scaled = (logits.sigmoid() * factor).logit(1e-6).clamp(min=BACKGROUND_LOGIT)
    return torch.where(factor < 1, scaled, logits)


def _detections(teacher: Predictions, least: float) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return boxes ``(b, k, 4)``, logits ``(b, k, c)``, objectness and a mask of the valid ones."""
    scores = candidate_scores(teacher)
    images, count = scores.shape
    candidate = (scores > least).flatten().nonzero()[:, 0]
    boxes = teacher.xyxy.detach().flatten(0, 1).to(scores)[candidate]
    kept = candidate[
        suppress_overlaps(boxes, scores.flatten()[candidate], candidate // count, NMS_IOU)
    ]
    kept_scores = torch.full_like(scores, -1.0).flatten()
    kept_scores[kept] = scores.flatten()[kept]
    best = kept_scores.view(images, count).topk(min(MAX_DETECTIONS, count), 1)
    objectness = teacher.objectness
    if objectness is not None:
        objectness = objectness.detach().to(scores).gather(1, best.indices)
    boxes, logits = (
        _gather(values.detach().to(scores), best.indices)
        for values in (teacher.xyxy, teacher.logits)
    )
    return boxes, logits, objectness, best.values > 0


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``(b, k, c)`` of ``(b, n, c)`` values at ``(b, k)``."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
