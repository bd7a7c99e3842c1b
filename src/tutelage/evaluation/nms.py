"""Non-maximum suppression: dense predictions in, the detections of each image out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.models.suppression import suppress_overlaps
from tutelage.structures import Detections, Predictions

EVALUATION_CONF = 0.001  # low: AP needs the whole precision-recall curve
EVALUATION_IOU = 0.65  # of every evaluation: while training, `tutelage val`, `tutelage compare`
MAX_CANDIDATES = 30_000


@torch.no_grad()
def nms(
    predictions: Predictions,
    *,
    conf: float = 0.25,
    iou: float = 0.45,
    max_detections: int = 300,
    multi_label: bool = False,
    agnostic: bool = False,
    class_map: Mapping[int, int] | None = None,
) -> list[Detections]:
    """Keep the best of overlapping candidates, class by class.

    The score of a candidate is objectness times class probability. With a single class it is the
    objectness alone, as in YOLOv7 (YOLOv5 multiplies): the class loss is off then, so the class
    output was never trained. Without objectness it is the class probability.

    Args:
        predictions: ``b`` images with ``n`` candidates.
        conf: Candidates must score more than this.
        iou: A candidate that overlaps a better one of its class by more than this is dropped.
        max_detections: At most so many detections per image, the best ones.
        multi_label: Every class above ``conf`` of a candidate counts, not only its best (for
            evaluation; without effect on a single class).
        agnostic: Let candidates of different classes suppress each other.
        class_map: Predicted class → class reported; predictions of other classes are dropped before
            they can take part. None: all classes as they are.

    Returns:
        One :class:`Detections` per image, boxes in pixels of the **canvas**, best score first.
    """
    classes = predictions.logits.shape[-1]
    lookup = _lookup(class_map, classes, predictions.logits.device)
    images: list[Detections] = []
    for number in range(len(predictions.xyxy)):
        objectness = None if predictions.objectness is None else predictions.objectness[number]
        row, label, score = _candidates(
            predictions.logits[number],
            objectness,
            conf=conf,
            multi_label=multi_label,
            lookup=lookup,
        )
        xyxy = predictions.xyxy[number, row].float()
        order = score.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
        xyxy, label, score = xyxy[order], label[order], score[order]
        group = torch.zeros_like(label) if agnostic else label
        keep = suppress_overlaps(xyxy, score, group, iou)[:max_detections]
        images.append(Detections(xyxy[keep], score[keep], label[keep]))
    return images


def _candidates(
    logits: Tensor,
    objectness: Tensor | None,
    *,
    conf: float,
    multi_label: bool,
    lookup: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return row, label and score of what scores more than ``conf`` in one image."""
    rows = torch.arange(len(logits), device=logits.device)
    present: Tensor | None = None
    if objectness is not None:
        present = objectness.float().sigmoid()
        rows = (present > conf).nonzero()[:, 0]  # a product cannot exceed either factor
        present = present[rows]
    if logits.shape[-1] == 1 and present is not None:
        scores = present[:, None]
    else:
        scores = logits[rows].float().sigmoid()
        scores = scores if present is None else scores * present[:, None]
    if lookup is not None:
        scores = scores.masked_fill(lookup < 0, 0.0)
    if multi_label:
        where, label = (scores > conf).nonzero(as_tuple=True)
        score = scores[where, label]
    else:
        score, label = scores.max(1)
        where = (score > conf).nonzero()[:, 0]
        score, label = score[where], label[where]
    return rows[where], label if lookup is None else lookup[label], score


def _lookup(
    class_map: Mapping[int, int] | None, classes: int, device: torch.device
) -> Tensor | None:
    if class_map is None:
        return None
    return torch.tensor([class_map.get(number, -1) for number in range(classes)], device=device)
