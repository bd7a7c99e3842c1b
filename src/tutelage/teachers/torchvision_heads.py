"""Dense predictions of torchvision's detectors, decoded on the canvas and before NMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import clip_boxes_to_image

from tutelage.structures import Predictions, height_width
from tutelage.teachers.foreign import ABSENT, level_index, log_odds

CANDIDATES = 1000  # best pairs of proposal and class per image of a two-stage detector
Decoder = Callable[[Any, Tensor, Mapping[str, Tensor], Sequence[int]], Predictions]


def one_stage(
    model: Any, images: Tensor, features: Mapping[str, Tensor], columns: Sequence[int]
) -> Predictions:
    """Decode every anchor of a one-stage detector.

    Args:
        model: RetinaNet, FCOS or SSD.
        images: ``(b, 3, h, w)`` normalised.
        features: Its pyramid.
        columns: The columns of its scores that are classes.
    """
    maps, size = list(features.values()), height_width(images)
    out = model.head(maps)
    anchors = model.anchor_generator(ImageList(images, [size] * len(images)), maps)
    coder = model.box_coder
    decode = coder.decode if isinstance(model, FCOS) else coder.decode_single
    codes = out["bbox_regression"]
    boxes = decode(codes.flatten(0, 1), torch.cat(anchors)).view_as(codes)
    raw = out["cls_logits"]
    if isinstance(model, RetinaNet):
        logits = raw
    elif isinstance(model, FCOS):
        logits = log_odds((raw.sigmoid() * out["bbox_ctrness"].sigmoid()).sqrt())
    else:
        logits = log_odds(raw.softmax(-1))
    counts = model.anchor_generator.num_anchors_per_location()
    grids = tuple(height_width(feature) for feature in maps)
    order = _anchors_first(grids, counts).to(logits.device)
    return Predictions(
        clip_boxes_to_image(boxes, size)[:, order],
        logits[:, order][..., columns],
        None,
        level_index([h * w * n for (h, w), n in zip(grids, counts, strict=True)]),
        grids=grids,
    )


def _anchors_first(grids: Sequence[tuple[int, int]], counts: Sequence[int]) -> Tensor:
    """Return the permutation from the library's order to level, anchor, row, column.

    The library orders by level, row, column, anchor.
    """
    order: list[Tensor] = []
    start = 0
    for (h, w), count in zip(grids, counts, strict=True):
        order.append(start + torch.arange(h * w * count).view(h * w, count).T.flatten())
        start += h * w * count
    return torch.cat(order)


def two_stage(
    model: Any, images: Tensor, features: Mapping[str, Tensor], columns: Sequence[int]
) -> Predictions:
    """Decode the best pairs of proposal and class; arguments as in :func:`one_stage`.

    Every class has its own box, so a candidate has one class; its other logits, and all logits of
    candidates that pad an image with fewer proposals, are ``ABSENT``.
    """
    batch, size = len(images), height_width(images)
    sizes = [size] * batch
    proposals, _ = model.rpn(ImageList(images, sizes), features)
    heads = model.roi_heads
    pooled = heads.box_head(heads.box_roi_pool(features, proposals, sizes))
    raw, regression = heads.box_predictor(pooled)
    counts = [len(boxes) for boxes in proposals]
    boxes = clip_boxes_to_image(heads.box_coder.decode(regression, proposals), size)
    odds, boxes = raw.softmax(-1)[:, columns], boxes[:, columns]
    scores = pad_sequence(list(odds.split(counts)), batch_first=True).flatten(1)
    places = pad_sequence(list(boxes.split(counts)), batch_first=True).flatten(1, 2)
    best, index = F.pad(scores, (0, CANDIDATES)).topk(CANDIDATES, 1)
    xyxy = F.pad(places, (0, 0, 0, CANDIDATES)).gather(1, index[..., None].expand(-1, -1, 4))
    logits = images.new_full((batch, CANDIDATES, len(columns)), ABSENT)
    logits.scatter_(2, (index % len(columns))[..., None], log_odds(best)[..., None])
    return Predictions(xyxy, logits, None, level_index([CANDIDATES]))


DECODERS: Mapping[type[nn.Module], Decoder] = {
    FasterRCNN: two_stage,  # Mask and Keypoint R-CNN are of this kind
    RetinaNet: one_stage,
    FCOS: one_stage,
    SSD: one_stage,
}


def decoder(model: nn.Module) -> Decoder:
    """Return the function that decodes a detector's predictions from its pyramid."""
    return next(decode for kind, decode in DECODERS.items() if isinstance(model, kind))
