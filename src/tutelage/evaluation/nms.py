"""Non-maximum suppression: from dense predictions to the detections of each image."""

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
    """Return the detections that remain after NMS per class.

    The score of a candidate is objectness times class probability. With a single class it is the
    objectness alone, as in YOLOv7 (YOLOv5 multiplies): there is no class loss then, so that the
    class output is untrained. Without objectness it is the class probability.

    Args:
        predictions: ``b`` images with ``n`` candidates.
        conf: Candidates must score more than this.
        iou: A candidate that overlaps a better one of its class by more than this is dropped.
        max_detections: The largest number of detections per image.
        multi_label: A candidate may be a detection of each class above ``conf``, not only of its
            best (for evaluation; no effect with a single class).
        agnostic: Candidates of different classes suppress each other.
        class_map: Predicted class → class of the detection; others are dropped before NMS. None:
            all classes as they are.

    Returns:
        One :class:`Detections` per image, boxes in pixels of the **canvas**, best score first.
    """
    lookup: Tensor | None = None
    if class_map is not None:
        labels = [class_map.get(label, -1) for label in range(predictions.logits.shape[-1])]
        lookup = torch.tensor(labels, device=predictions.logits.device)
    images: list[Detections] = []
    for number, logits in enumerate(predictions.logits):
        objectness = None if predictions.objectness is None else predictions.objectness[number]
        row, label, score = _candidates(
            logits, objectness, conf=conf, multi_label=multi_label, lookup=lookup
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
    """Return row, label and score of the candidates of one image above ``conf``."""
    rows = torch.arange(len(logits), device=logits.device)
    factor: Tensor | None = None
    if objectness is not None:
        factor = objectness.float().sigmoid()
        rows = (factor > conf).nonzero()[:, 0]  # a product cannot exceed either factor
        factor = factor[rows, None]
    if logits.shape[-1] == 1 and factor is not None:
        scores = factor
    else:
        scores = logits[rows].float().sigmoid()
        scores = scores if factor is None else scores * factor
    if lookup is not None:
        scores = scores.masked_fill(lookup < 0, 0.0)
    if multi_label:
        selected, label = (scores > conf).nonzero(as_tuple=True)
        score = scores[selected, label]
    else:
        score, label = scores.max(1)
        selected = (score > conf).nonzero()[:, 0]
        score, label = score[selected], label[selected]
    return rows[selected], label if lookup is None else lookup[label], score
