"""Cross-head knowledge distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.config.schema import NonNegative
from tutelage.distill.connector import Connector
from tutelage.distill.method import Channels, HeightWidth, Method, Need
from tutelage.distill.methods.bckd import box_loss, class_losses
from tutelage.distill.scores import candidate_scores
from tutelage.distill.standardise import standardise
from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Knowledge, Targets


class CrossKD(Method):
    """Imitate the teacher's predictions with the student's features in the teacher's frozen head.

    Wang et al., *CrossKD: Cross-Head Knowledge Distillation for Object Detection*, CVPR 2024,
    arXiv:2306.11369. The student's maps, projected to the teacher's width by a 1×1 convolution if
    it differs, get the mean and deviation of the teacher's in each channel; the layers of the
    teacher after the tapped ones compute predictions from them. Classes and objectness are compared
    as in BCKD, boxes by the generalised IoU weighted by the teacher's score. Every term is a sum
    over candidates and classes of all images, divided by the sum of the teacher's scores, at least
    one per image. The classes of the student do not matter.

    Args:
        channels: Student and teacher channels per pair.
        classes: Weight of classes and objectness.
        box: Weight of the boxes.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: Both weights are 0.
    """

    needs = Need.FEATURES | Need.PREDICTIONS
    paper = "Wang et al., CVPR 2024, arXiv:2306.11369"
    from_store = "never"
    ratio = 2.0

    def __init__(
        self, channels: Channels, *, classes: NonNegative = 1.0, box: NonNegative = 1.0
    ) -> None:
        super().__init__(channels)
        if not any((classes, box)):
            raise ValueError("classes and box are both 0: nothing is compared")
        self.classes, self.box = classes, box
        self.connectors = nn.ModuleList(Connector(s, t) for s, t in channels)

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare the predictions of the teacher's head from both networks' features.

        Raises:
            ValueError: The teacher has no predictions, or its head cannot be run alone.
        """
        if teacher.predictions is None or teacher.head is None:
            what = "predictions" if teacher.predictions is None else "head that can be run alone"
            raise ValueError(f"the teacher has no {what}")
        with torch.autocast(teacher.features[0].device.type, enabled=False):
            pairs = zip(self.connectors, student.features, teacher.features, strict=True)
            maps = [
                match_statistics(connector(at_least_float32(s)), at_least_float32(t.detach()))
                for connector, s, t in pairs
            ]
            s, t = teacher.head(tuple(maps)), teacher.predictions
            scores = candidate_scores(t)
            factor = scores.sum().clamp(min=len(scores))
            terms: dict[str, Tensor] = {}
            if self.classes:
                losses = class_losses(s, t, factor, beta=1.0)
                terms = {name: self.classes * loss for name, loss in losses.items()}
            if self.box:
                terms["box"] = self.box * box_loss(s.xyxy, t.xyxy, scores, factor)
        return terms


def match_statistics(s: Tensor, t: Tensor) -> Tensor:
    """Return ``s`` with the mean and deviation of ``t`` in each channel.

    Both ``(b, c, h, w)``; statistics over images and cells, through which the gradient flows.
    """
    deviation, mean = torch.std_mean(t, (0, 2, 3), keepdim=True)
    return standardise(s) * deviation + mean
