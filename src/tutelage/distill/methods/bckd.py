"""Bridging Cross-task Protocol Inconsistency for Distillation."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tutelage.config.schema import NonNegative
from tutelage.distill.iou_loss import overlap_loss
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod, at_known
from tutelage.distill.scores import class_scores, classes_trained
from tutelage.structures import Predictions, Targets


class BCKD(ResponseMethod):
    """Imitate classes as binary maps and boxes, most where the two networks disagree.

    Yang et al., *Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object
    Detection*, ICCV 2023, arXiv:2308.14286. Every term is a sum over candidates and classes of all
    images, divided by the sum of the teacher's scores (in the paper: the number of positives), at
    least one per image, so that it stays bounded without detections of the teacher.

    Objectness is compared like a class: it has the role of the background in the paper's class
    maps. Classes are then weighted by the teacher's objectness, and boxes by the difference in
    class score, class probability × objectness. (Weighted by the difference in class probability,
    boxes would have no gradient once the classes are learnt.)

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        beta: Exponent of the difference in probability that weights the cross-entropy.
        classes: Weight of classes and objectness.
        box: Weight of the boxes.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: Both weights are 0.
    """

    paper = "Yang et al., ICCV 2023, arXiv:2308.14286"
    from_store = "best"
    ratio = 5.0

    def __init__(
        self,
        channels: Channels,
        *,
        beta: Annotated[float, Field(ge=1.0)] = 1.0,
        classes: NonNegative = 1.0,
        box: NonNegative = 4.0,
    ) -> None:
        super().__init__(channels)
        if not any((classes, box)):
            raise ValueError("classes and box are both 0: nothing is compared")
        self.beta, self.classes, self.box = beta, classes, box

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the terms."""
        s, t = known = at_known(student, teacher)
        scores = class_scores(t)
        factor = scores.amax(-1).sum().clamp(min=len(student.logits))
        terms: dict[str, Tensor] = {}
        if self.classes:
            losses = class_losses(student, teacher, factor, self.beta, known)
            terms = {name: self.classes * loss for name, loss in losses.items()}
        if self.box:
            weight = disagreement(class_scores(s), scores)
            terms["box"] = self.box * box_loss(s.xyxy, t.xyxy, weight, factor)
        return terms


def class_losses(
    s: Predictions,
    t: Predictions,
    factor: Tensor,
    beta: float,
    known: tuple[Predictions, Predictions] | None = None,
) -> dict[str, Tensor]:
    """Return the losses of classes and objectness, as far as both heads have them.

    Args:
        s: The student's predictions.
        t: The teacher's predictions at the same candidates.
        factor: The sums over candidates and classes are divided by it.
        beta: Exponent of the difference in probability.
        known: Both where classes are compared, see :func:`at_known`; None: everywhere.
    """
    losses: dict[str, Tensor] = {}
    if classes_trained(s):
        own, taught = known or (s, t)
        loss = class_loss(own.logits, taught.logits, beta)
        if taught.objectness is not None:
            loss = loss * taught.objectness.sigmoid()[..., None]
        losses["class"] = loss.sum() / factor
    if s.objectness is not None and t.objectness is not None:
        losses["objectness"] = class_loss(s.objectness, t.objectness, beta).sum() / factor
    return losses


def class_loss(s: Tensor, t: Tensor, beta: float) -> Tensor:
    """Return elementwise the cross-entropy of two logits times their difference in probability.

    The gradient flows through the difference, too.
    """
    probability = t.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(s, probability, reduction="none")
    return (s.sigmoid() - probability).abs().pow(beta) * cross_entropy


def disagreement(s: Tensor, t: Tensor) -> Tensor:
    """Return the largest difference of each candidate's ``(..., k)`` scores, as a constant."""
    return (s.detach() - t).abs().amax(-1)


def box_loss(s: Tensor, t: Tensor, weight: Tensor, factor: Tensor) -> Tensor:
    """Return the weighted sum over ``(..., 4)`` boxes of 1 - generalised IoU, over ``factor``."""
    return (weight * overlap_loss(s, t, "giou")).sum() / factor
