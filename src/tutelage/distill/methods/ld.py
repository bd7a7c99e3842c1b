"""Localisation Distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.config.schema import Positive
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod, require_both
from tutelage.distill.scores import candidate_scores, weighted_mean
from tutelage.structures import Predictions, Targets


class LD(ResponseMethod):
    """Imitate the teacher's distribution over the position of each side of a box.

    Zheng et al., *Localization Distillation for Dense Object Detection*, CVPR 2022,
    arXiv:2102.12252. The divergence is a mean over bins, as published, a mean over sides, and a
    mean over the candidates of all images, weighted by the teacher's score. (Published: positives
    only, and their sum, which grows with the batch.)

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        temperature: Divides the logits; the loss is multiplied by its square.
    """

    paper = "Zheng et al., CVPR 2022, arXiv:2102.12252"
    from_store = "never"

    def __init__(self, channels: Channels, *, temperature: Positive = 10.0) -> None:
        super().__init__(channels)
        self.temperature = temperature

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term.

        Raises:
            ValueError: A head predicts no distributions, or over other bins.
        """
        reason = (
            "predicts one value per side of a box, as anchor heads (YOLOv5, YOLOv7) do, "
            "not a distribution over bins"
        )
        s, t = require_both(student.bins, teacher.bins, reason)
        if s.shape[-1] != t.shape[-1]:
            raise ValueError(f"the student has {s.shape[-1]} bins, the teacher {t.shape[-1]}")
        sides = softmax_divergence(s, t, self.temperature)
        return {"box": weighted_mean(sides.mean(-1), candidate_scores(teacher))}


def softmax_divergence(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Return ``T² KL(t ‖ s)`` over the last dimension, divided by its length."""
    log_s, log_t = (F.log_softmax(x / temperature, dim=-1) for x in (s, t))
    return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).mean(-1)


def valuable_region(
    anchors: Tensor, counts: Sequence[int], boxes: Tensor, *, nearest: int = 9
) -> Tensor:
    """Return the weights of the valuable localisation region: anchors near, but not at, objects.

    On every level the anchors nearest to a box are its candidates, and mean + deviation of their
    IoU is its threshold. Its region are the anchors whose distance-IoU is below the threshold and
    at least a quarter of it.

    Args:
        anchors: ``(a, 4)`` corners, level by level.
        counts: Anchors of each level.
        boxes: ``(g, 4)`` corners of an image's objects; there may be none.
        nearest: Candidates per box and level.

    Returns:
        ``(a,)`` the largest IoU with a box in whose region the anchor lies, otherwise 0.
    """
    from torchvision.ops import (  # importing it imports the compiler of torch
        box_iou,
        distance_box_iou,
    )

    if not len(boxes):
        return anchors.new_zeros(len(anchors))
    iou = box_iou(boxes, anchors)
    distance = torch.cdist(_centres(boxes), _centres(anchors))
    levels = zip(distance.split(list(counts), 1), iou.split(list(counts), 1), strict=True)
    candidates = torch.cat(
        [
            overlap.gather(1, far.topk(min(nearest, far.shape[1]), largest=False).indices)
            for far, overlap in levels
        ],
        1,
    )
    threshold = candidates.mean(1, keepdim=True) + candidates.std(1, keepdim=True)
    near = distance_box_iou(boxes, anchors)
    region = (near >= threshold / 4) & (near < threshold)
    return (iou * region).amax(0)


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
