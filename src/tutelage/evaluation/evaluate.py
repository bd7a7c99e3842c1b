"""From a model and a loader to scores: predict, suppress, map back to the original image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
        images: ``(m,)`` positions of the images looked at, with or without detections.
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
    max_detections: int = 300,
    class_map: Mapping[int, int] | None = None,
    limit: int | None = None,
    letterbox: Geometry | None = None,
) -> Scores:
    """Return the COCO scores of a model, student or teacher.

    Args:
        predict: Maps ``(b, 3, h, w)`` float images in 0..1 to predictions in pixels of that canvas.
            Putting the model into evaluation mode is the caller's business.
        loader: Batches of letterboxed images whose ``ids`` are positions in ``index``.
        index: Images and objects.
        device: Where ``predict`` expects the images.
        conf: Detections must score more than this; low, since AP needs the whole curve.
        iou: Overlap limit of the suppression.
        max_detections: Per image. COCO's AP counts the best 100 per image and class.
        class_map: Predicted class → class of the data, for a model with other names. Predictions of
            other classes are dropped, and only the classes reached are scored.
        limit: Stop after about so many images (whole batches); only these are scored.
        letterbox: Position and canvas ``(h, w)`` → how that image lies there, for a loader whose
            canvases have a margin; None: images are as large as the canvas allows.
    """
    found = collect(
        predict,
        loader,
        index,
        device=device,
        conf=conf,
        iou=iou,
        max_detections=max_detections,
        class_map=class_map,
        limit=limit,
        letterbox=letterbox,
    )
    classes = None if class_map is None else set(class_map.values())
    return score(index, found.table, images=found.images.tolist(), classes=classes)


def collect(
    predict: Callable[[Tensor], Predictions],
    loader: Iterable[Batch],
    index: DatasetIndex,
    *,
    device: torch.device | str = "cpu",
    conf: float = EVALUATION_CONF,
    iou: float = EVALUATION_IOU,
    max_detections: int = 300,
    class_map: Mapping[int, int] | None = None,
    limit: int | None = None,
    letterbox: Geometry | None = None,
) -> EvaluatedDetections:
    """Return the detections on the images of a loader; arguments as in :func:`evaluate`.

    With several processes, each collects its share; :func:`merge` joins them.
    """
    geometry = letterbox or partial(_fitted, index)
    rows: dict[int, Table] = {}
    with torch.inference_mode():
        for batch in _limited(loader, limit):
            images = (
                batch._replace(images=batch.images.to(device, non_blocking=True)).floating().images
            )
            found = nms(
                predict(images),
                conf=conf,
                iou=iou,
                max_detections=max_detections,
                multi_label=True,
                class_map=class_map,
            )
            for position, detections in zip(batch.ids.tolist(), found, strict=True):
                lies = geometry(position, batch.image_size)
                rows[position] = _rows(position, to_original(detections, lies))
    table = np.concatenate([np.zeros((0, 7)), *rows.values()])
    return EvaluatedDetections(table, np.array(list(rows), np.int64))


def merge(parts: Iterable[EvaluatedDetections]) -> EvaluatedDetections:
    """Join the findings of several processes; an image found twice (as padding) counts once."""
    rows: list[Table] = [np.zeros((0, 7))]
    seen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for part in parts:
        new = np.setdiff1d(part.images, np.concatenate(seen))
        rows.append(part.table[np.isin(part.table[:, 0], new)])
        seen.append(new)
    return EvaluatedDetections(np.concatenate(rows), np.sort(np.concatenate(seen)))


def to_original(detections: Detections, letterbox: Letterbox) -> Detections:
    """Map detections from the canvas to pixels of the original image.

    Boxes are clipped to the image; one that lies wholly in the grey border is no detection.
    """
    xyxy = letterbox.inverse(detections.xyxy)
    limits = xyxy.new_tensor([*letterbox.size_wh, *letterbox.size_wh])
    xyxy = xyxy.clamp_min(0).minimum(limits)
    solid = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    return Detections(xyxy[solid], detections.score[solid], detections.label[solid])


def _fitted(index: DatasetIndex, position: int, canvas_hw: tuple[int, int]) -> Letterbox:
    width, height = index.sizes[position].tolist()
    return letterbox_geometry((width, height), canvas_hw)


def _rows(position: int, found: Detections) -> Table:
    """One image's detections as table rows, rounded as they will be written to a file."""
    xyxy = found.xyxy.double().cpu().numpy()
    rows = np.empty((len(xyxy), 7))
    rows[:, 0] = position
    rows[:, 1:3] = np.round(xyxy[:, :2], 3)
    rows[:, 3:5] = np.round(xyxy[:, 2:] - xyxy[:, :2], 3)
    rows[:, 5] = np.round(found.score.double().cpu().numpy(), 6)
    rows[:, 6] = found.label.cpu().numpy()
    return rows


def _limited(loader: Iterable[Batch], limit: int | None) -> Iterator[Batch]:
    taken = 0
    for batch in loader:
        yield batch
        taken += len(batch.ids)
        if limit is not None and taken >= limit:
            return
