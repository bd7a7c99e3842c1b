"""Localisation Distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.config.schema import NonNegative, Positive
from tutelage.distill.method import Channels, HeightWidth, Need
from tutelage.distill.response import ResponseMethod, require_both
from tutelage.distill.scores import candidate_scores, weighted_mean
from tutelage.losses.side_distances import boxes_around, cell_centres
from tutelage.structures import Predictions, Targets

_SIDE = 8.0  # of an anchor, in cells, as in GFL


class LD(ResponseMethod):
    """Imitate the teacher's distribution over the position of each side of a box.

    Zheng et al., *Localization Distillation for Dense Object Detection*, CVPR 2022,
    arXiv:2102.12252. The divergence is a mean over bins, as published, a mean over sides, and a
    mean over the candidates of all images, weighted by the teacher's score. (Published: positives
    only, and their sum, which grows with the batch.) With ``valuable`` above 0 a second term is the
    mean over the valuable localisation region, see :func:`valuable_region`: there the teacher's
    scores are low, but its distributions say where the objects beside are.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        temperature: Divides the logits; the loss is multiplied by its square.
        valuable: Weight of the term of that region; 0 leaves it out.
    """

    paper = "Zheng et al., CVPR 2022, arXiv:2102.12252"
    needs = ResponseMethod.needs | Need.DISTRIBUTIONS

    def __init__(
        self, channels: Channels, *, temperature: Positive = 10.0, valuable: NonNegative = 0.0
    ) -> None:
        super().__init__(channels)
        self.temperature, self.valuable = temperature, valuable
        self.from_store = "all" if valuable else "best"

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the terms.

        Raises:
            ValueError: A head predicts no distributions, or over other bins; or the region of
                candidates that belong to no cells is asked for.
        """
        reason = (
            "predicts one value per side of a box, as the heads of YOLOv5, YOLOv7 and YOLOX do, "
            "or distributions around boxes of its own, as D-FINE does: not a distribution over "
            "bins from a cell (a store holds these if ld was among its methods)"
        )
        s, t = require_both(student.bins, teacher.bins, reason)
        if s.shape[-1] != t.shape[-1]:
            raise ValueError(f"the student has {s.shape[-1]} bins, the teacher {t.shape[-1]}")
        sides = softmax_divergence(s, t, self.temperature).mean(-1)
        terms = {"box": weighted_mean(sides, candidate_scores(teacher))}
        if self.valuable:
            anchors, counts = cell_anchors(student, image_size)
            weights = valuable_regions(anchors, counts, targets, images=len(sides))
            terms["valuable"] = self.valuable * weighted_mean(sides, weights.to(sides))
        return terms


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
    if not len(boxes):
        return anchors.new_zeros(len(anchors))
    return _regions(anchors, counts, boxes, nearest).amax(0)


def valuable_regions(
    anchors: Tensor, counts: Sequence[int], targets: Targets, *, images: int, nearest: int = 9
) -> Tensor:
    """Return :func:`valuable_region` of every image of a batch, ``(images, a)``."""
    weights = anchors.new_zeros(images, len(anchors))
    if not len(targets.label):
        return weights
    each = _regions(anchors, counts, targets.xyxy.to(anchors), nearest)
    return weights.scatter_reduce_(0, targets.image[:, None].expand_as(each), each, "amax")


def cell_anchors(
    predictions: Predictions, image_size: HeightWidth
) -> tuple[Tensor, tuple[int, ...]]:
    """Return a square of eight cells around each cell, as anchors of heads without anchors.

    Args:
        predictions: One candidate per cell.
        image_size: Height and width of the canvas in pixels.

    Returns:
        ``(n, 4)`` corners in pixels, and the number of each level.

    Raises:
        ValueError: The candidates are not one per cell.
    """
    grids = predictions.grids or ()
    counts = tuple(ny * nx for ny, nx in grids)
    if sum(counts) != predictions.xyxy.shape[1]:
        raise ValueError("a head of one candidate per cell is needed for the valuable region")
    strides = [image_size[0] // ny for ny, _ in grids]
    centres, pixels = cell_centres(grids, strides, predictions.xyxy)
    return boxes_around(centres, torch.full_like(centres, _SIDE / 2).repeat(1, 2)) * pixels, counts


def _regions(anchors: Tensor, counts: Sequence[int], boxes: Tensor, nearest: int) -> Tensor:
    """Return ``(g, a)`` the IoU of each box with the anchors of its region, otherwise 0."""
    from torchvision.ops import (  # importing it imports the compiler of torch
        box_iou,
        distance_box_iou,
    )

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
    return iou * region


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
