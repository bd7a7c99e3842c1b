"""Imitation of decoded boxes."""

from __future__ import annotations

from torch import Tensor

from tutelage.distill.iou_loss import Overlap, overlap_loss
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod
from tutelage.distill.scores import candidate_scores, weighted_mean
from tutelage.structures import Predictions, Targets


class BoxKD(ResponseMethod):
    """Imitate the teacher's boxes.

    One minus the overlap: Rezatofighi et al., *Generalized Intersection over Union*, CVPR 2019,
    arXiv:1902.09630: a mean over the candidates of all images, weighted by the teacher's score.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        overlap: ``giou``, ``ciou``, or, without a gradient where boxes are disjoint, ``iou`` and
            ``log_iou``, minus the logarithm of the IoU.
    """

    paper = "Rezatofighi et al., CVPR 2019, arXiv:1902.09630"
    from_store = "best"
    ratio = 0.5

    def __init__(self, channels: Channels, *, overlap: Overlap = "giou") -> None:
        super().__init__(channels)
        self.overlap: Overlap = overlap

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term."""
        losses = overlap_loss(student.xyxy, teacher.xyxy, self.overlap)
        return {"box": weighted_mean(losses, candidate_scores(teacher))}
