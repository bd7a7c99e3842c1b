"""What a teacher says where each candidate of the student is, whatever head the teacher has."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from tutelage.distill.scores import candidate_scores
from tutelage.structures import Predictions, Targets

MOST = 100  # detections of the teacher per image
SCORE = 0.05  # from which the teacher's candidates are detections
DUPLICATE = 0.6  # detections of one image that overlap more are the same one
NOTHING = -7.0  # log-odds where the teacher sees nothing: one in a thousand
CERTAIN = 1e-4  # conditional class probabilities stay this far from 0 and 1


@torch.no_grad()
def matched(
    student: Predictions, teacher: Predictions, answers: Callable[[Targets], Tensor]
) -> Predictions:
    """Put the teacher's detections at the candidates of the student that answer for them.

    Those are the ones to which the student's own detection loss would assign them if they were
    drawn by hand: other candidates that overlap as well it teaches to see nothing, and two losses
    would pull one candidate in two directions. A candidate takes over class scores and box of its
    detection. Elsewhere the teacher sees nothing and the box is the student's own. A student with
    objectness is told objectness and, given an object, classes, also by a teacher that has only
    class scores.

    Args:
        student: Its candidates ``(b, n)``.
        teacher: Candidates ``(b, m)`` of any kind and number, the same classes.
        answers: Says which of given boxes each candidate of the student answers for.

    Returns:
        Constant predictions at the student's candidates; without box outputs and distributions.
    """
    boxes, logits, objectness, there = _detections(teacher)
    image, number = there.nonzero().unbind(1)
    drawn = Targets(image, logits.argmax(-1)[image, number], boxes[image, number])
    box = answers(drawn)
    found = box >= 0
    # One more, so that there is a row to point at where the teacher sees nothing at all.
    which = torch.cat((number, number.new_zeros(1)))[box]

    def taken(values: Tensor, elsewhere: Tensor) -> Tensor:
        index = which[..., None].expand(-1, -1, values.shape[-1])
        return torch.where(found[..., None], values.gather(1, index), elsewhere)

    silent = logits.new_full((), NOTHING)
    if student.objectness is not None and objectness is None:
        odds = logits.sigmoid()
        top = odds.amax(-1, keepdim=True)
        objectness = top.squeeze(-1).logit(1e-6)
        logits = (odds / top.clamp(min=1e-12)).logit(CERTAIN)
    return Predictions(
        xyxy=taken(boxes, student.xyxy.detach().to(boxes)),
        logits=taken(logits, silent),
        objectness=None
        if student.objectness is None or objectness is None
        else taken(objectness[..., None], silent).squeeze(-1),
        level=student.level,
        grids=student.grids,
    )


def _detections(teacher: Predictions) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return boxes ``(b, k, 4)``, logits ``(b, k, c)``, objectness, and which are there."""
    scores = candidate_scores(teacher)
    images, count = scores.shape
    image = torch.arange(images, device=scores.device)[:, None].expand(-1, count)
    sure = (scores > SCORE).flatten()
    order = torch.where(sure)[0]
    boxes = teacher.xyxy.detach().flatten(0, 1).to(scores)
    kept = order[
        batched_nms(boxes[order], scores.flatten()[order], image.flatten()[order], DUPLICATE)
    ]
    left = torch.full_like(scores, -1.0).flatten()
    left[kept] = scores.flatten()[kept]
    top = left.view_as(scores).topk(min(MOST, count), 1)
    there = top.values > 0

    def chosen(values: Tensor) -> Tensor:
        index = top.indices[..., None].expand(-1, -1, values.shape[-1])
        return values.detach().to(scores).gather(1, index)

    seen = teacher.objectness
    objectness = None if seen is None else chosen(seen[..., None]).squeeze(-1)
    return chosen(teacher.xyxy), chosen(teacher.logits), objectness, there
