"""Bridging Cross-task Protocol Inconsistency for Distillation."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tutelage.config.schema import NonNegative
from tutelage.distill.iou_loss import overlap_loss
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod
from tutelage.distill.scores import class_scores, classes_trained
from tutelage.structures import Predictions, Targets


class BCKD(ResponseMethod):
    """Imitate classes as binary maps and boxes, most where the two networks disagree.

    Yang et al., *Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object
    Detection*, ICCV 2023, arXiv:2308.14286. Every term is a sum over candidates and classes of all
    images, divided by the sum of the teacher's scores (in the paper: the number of positives), at
    least one per image, so that a batch in which the teacher sees nothing stays bounded.

    Heads with objectness say there what the paper's class maps say of the background. So it is
    compared like a class of its own, classes weigh by the teacher's objectness, and boxes by the
    difference in class score, which is class probability times objectness. (By the difference in
    class probability alone the boxes would teach nothing once the classes are told apart.)

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        beta: Exponent of the difference in probability that weighs the cross-entropy.
        classes: Weight of classes and objectness.
        box: Weight of the boxes.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: Both weights are 0.
    """

    paper = "Yang et al., ICCV 2023, arXiv:2308.14286"
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
        theirs = class_scores(teacher)
        scores = theirs.amax(-1)
        factor = scores.sum().clamp(min=len(scores))
        s, t = student.logits, teacher.logits
        use = scores.new_ones(()) if teacher.objectness is None else teacher.objectness.sigmoid()
        terms: dict[str, Tensor] = {}
        if self.classes:
            losses = {}
            if classes_trained(student):
                losses["class"] = class_loss(s, t, use, factor, self.beta)
            if student.objectness is not None and teacher.objectness is not None:
                seen = student.objectness[..., None], teacher.objectness[..., None]
                every = scores.new_ones(())
                losses["objectness"] = class_loss(*seen, every, factor, self.beta)
            terms |= {name: self.classes * loss for name, loss in losses.items()}
        if self.box:
            terms["box"] = self.box * box_loss(
                student.xyxy,
                teacher.xyxy,
                disagreement(class_scores(student), theirs),
                factor,
            )
        return terms


def class_loss(s: Tensor, t: Tensor, use: Tensor, factor: Tensor, beta: float) -> Tensor:
    """Sum over candidates and classes the cross-entropy times the difference in probability.

    Args:
        s: ``(..., k)`` logits; the gradient flows through the difference too.
        t: ``(..., k)`` logits.
        use: ``(...)`` weight of each candidate.
        factor: The sum is divided by it.
        beta: Exponent of the difference.
    """
    wanted = t.sigmoid()
    cross = F.binary_cross_entropy_with_logits(s, wanted, reduction="none")
    return ((s.sigmoid() - wanted).abs().pow(beta) * cross * use[..., None]).sum() / factor


def disagreement(s: Tensor, t: Tensor) -> Tensor:
    """Return the largest difference of each candidate's ``(..., k)`` scores, as a constant."""
    return (s.detach() - t).abs().amax(-1)


def box_loss(s: Tensor, t: Tensor, weight: Tensor, factor: Tensor) -> Tensor:
    """Sum one minus the generalised IoU over candidates.

    Args:
        s: ``(..., 4)`` corners.
        t: ``(..., 4)`` corners.
        weight: ``(...)`` of each candidate.
        factor: The sum is divided by it.
    """
    return (weight * overlap_loss(s, t, "giou")).sum() / factor
