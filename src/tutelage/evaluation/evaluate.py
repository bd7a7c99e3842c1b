"""From a model and a loader to scores: predict, NMS, boxes in pixels of the original image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import Letterbox, letterbox_geometry
from tutelage.evaluation.coco import Table
from tutelage.evaluation.nms import EVALUATION_CONF, EVALUATION_IOU, nms
from tutelage.evaluation.scores import Scores, score
from tutelage.structures import Batch, Detections, Predictions

Geometry = Callable[[int, tuple[int, int]], Letterbox]


class EvaluatedDetections(NamedTuple):
    """The detections on some images of an index.

    Attributes:
        table: ``(n, 7)`` rows of image position, x, y, w, h, score, class.
        images: ``(m,)`` positions of the evaluated images, with or without detections.
    """

    table: Table
    images: NDArray[np.int64]


def evaluate(
    predict: Callable[[Tensor], Predictions],
    loader: Iterable[Batch],
    index: DatasetIndex,
    *,
    device: torch.device | str = "cpu",
    conf: float = EVALUATION_CONF,
    iou: float = EVALUATION_IOU,
    class_map: Mapping[int, int] | None = None,
    letterbox: Geometry | None = None,
) -> Scores:
    """Return the COCO scores of a model, student or teacher.

    Args:
        predict: Maps ``(b, 3, h, w)`` float images in 0..1 to predictions in pixels of that canvas,
            by a model in evaluation mode.
        loader: Batches of letterboxed images whose ``ids`` are positions in ``index``.
        index: Images and objects.
        device: Where ``predict`` expects the images.
        conf: Detections must score more than this.
        iou: IoU threshold of the NMS.
        class_map: Predicted class → class of the data, for a model with other names. Predictions of
            other classes are dropped, and only the classes of the map are scored.
        letterbox: Position and canvas ``(h, w)`` → geometry of that image, for a loader whose
            canvases have a margin; None: images are as large as the canvas allows.
    """
    detections = collect(
        predict, loader, index,
        device=device, conf=conf, iou=iou, class_map=class_map, letterbox=letterbox,
    )  # fmt: skip
    classes = None if class_map is None else set(class_map.values())
    return score(index, detections.table, images=detections.images.tolist(), classes=classes)


def collect(
    predict: Callable[[Tensor], Predictions],
    loader: Iterable[Batch],
    index: DatasetIndex,
    *,
    device: torch.device | str = "cpu",
    conf: float = EVALUATION_CONF,
    iou: float = EVALUATION_IOU,
    class_map: Mapping[int, int] | None = None,
    letterbox: Geometry | None = None,
) -> EvaluatedDetections:
    """Return the detections on the images of a loader; arguments as in :func:`evaluate`.

    With several processes, each collects its share; :func:`merge` joins them.
    """
    geometry = letterbox or partial(_fitted, index)
    rows: dict[int, Table] = {}
    with torch.inference_mode():
        for batch in loader:
            images = batch.images.to(device, non_blocking=True)
            images = batch._replace(images=images).floating().images
            detections = nms(
                predict(images), conf=conf, iou=iou, multi_label=True, class_map=class_map
            )
            for position, found in zip(batch.ids.tolist(), detections, strict=True):
                boxes = to_original(found, geometry(position, batch.image_size))
                rows[position] = _table(position, boxes)
    table = np.concatenate([np.zeros((0, 7)), *rows.values()])
    return EvaluatedDetections(table, np.array(list(rows), np.int64))


def merge(parts: Iterable[EvaluatedDetections]) -> EvaluatedDetections:
    """Join the detections of several processes; an image repeated as padding counts once."""
    table, images = np.zeros((0, 7)), np.zeros(0, np.int64)
    for part in parts:
        new = np.setdiff1d(part.images, images)
        table = np.concatenate([table, part.table[np.isin(part.table[:, 0], new)]])
        images = np.concatenate([images, new])
    return EvaluatedDetections(table, np.sort(images))


def to_original(detections: Detections, letterbox: Letterbox) -> Detections:
    """Map detections from the canvas to pixels of the original image.

    Boxes are clipped to the image; those wholly outside it are dropped.
    """
    xyxy = letterbox.inverse(detections.xyxy)
    limits = xyxy.new_tensor([*letterbox.size_wh, *letterbox.size_wh])
    xyxy = xyxy.clamp_min(0).minimum(limits)
    visible = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    return Detections(xyxy[visible], detections.score[visible], detections.label[visible])


def _fitted(index: DatasetIndex, position: int, canvas_hw: tuple[int, int]) -> Letterbox:
    width, height = index.sizes[position].tolist()
    return letterbox_geometry((width, height), canvas_hw)


def _table(position: int, detections: Detections) -> Table:
    """Return one image's detections as table rows, rounded as in files."""
    xyxy = detections.xyxy.double().cpu().numpy()
    rows = np.empty((len(xyxy), 7))
    rows[:, 0] = position
    rows[:, 1:3] = np.round(xyxy[:, :2], 3)
    rows[:, 3:5] = np.round(xyxy[:, 2:] - xyxy[:, :2], 3)
    rows[:, 5] = np.round(detections.score.double().cpu().numpy(), 6)
    rows[:, 6] = detections.label.cpu().numpy()
    return rows
