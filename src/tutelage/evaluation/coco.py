"""COCO metrics by hotcoco, whose evaluation is used in this file alone.

Detections travel as a table, one row each: ``image_id, x, y, w, h, score, category_id``; image ids
are positions in the :class:`~tutelage.data.index.DatasetIndex`, category ids its class numbers,
boxes pixels of the original image. Object sizes (small, medium, large: under 32², under 96², above)
are the areas that the labels give, else those of the boxes, in the original image.

Detections of ignored objects are neither right nor wrong. They match crowds by the share of the
detection that lies inside, as in pycocotools, and difficult objects by IoU, as in Pascal VOC's own
evaluation: at each IoU threshold the detections that found no object but overlap a difficult one
by that much are left out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import hotcoco
import numpy as np
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex, Ignored, IgnoredObjects
from tutelage.evaluation.calibration import score_of_probability
from tutelage.evaluation.confidence import by_confidence, rounded

Table = NDArray[np.float64]

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
IOUS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)

_AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


class ClassMatches(NamedTuple):
    """The detections of one class over all images, best first, matched with the objects.

    Attributes:
        image: ``(d,)`` row of the image in the order given.
        hit: ``(10, d)`` whether the detection is a true positive, per IoU threshold.
        ignored: ``(10, d)`` whether it is neither a true nor a false positive.
        objects: ``(images,)`` objects of the class per image.
    """

    image: NDArray[np.int64]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.int64]


class Accumulated(NamedTuple):
    """Precision and recall over all images; −1 without objects.

    Attributes:
        precision: ``(10, 101, classes, 4, 3)``: IoU, recall, class, object size, most detections.
        recall: ``(10, classes, 4, 3)``.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class CocoEvaluation:
    """Detections of one model, matched with the objects of an index.

    Args:
        index: Images and objects.
        table: ``(n, 7)`` detections, as above.
        images: Positions of the evaluated images; all if None.
        classes: Class numbers to evaluate; all if None.

    Attributes:
        images: ``(m,)`` the positions evaluated.
        classes: The class numbers evaluated.
        instances: ``(classes,)`` objects of each.
        image_ids: The id of each image of the index in its COCO json; empty if there is none.
        category_ids: The category id of each class there; empty if there is none.
    """

    def __init__(
        self,
        index: DatasetIndex,
        table: Table,
        *,
        images: Sequence[int] | None = None,
        classes: Iterable[int] | None = None,
    ) -> None:
        self.images = np.arange(len(index)) if images is None else np.asarray(images, np.int64)
        self.classes = sorted(range(len(index.names)) if classes is None else set(classes))
        self._table = table[np.isin(table[:, 0], self.images) & np.isin(table[:, 6], self.classes)]
        self._truth, self.instances = _ground_truth(index, self.images, self.classes)
        self.image_ids, self.category_ids = index.image_ids.tolist(), index.category_ids
        self._difficult = _difficult_overlaps(index.ignored, self._table)

    @cached_property
    def _accumulated(self) -> Accumulated:
        """The evaluation at all IoU thresholds."""
        if self._difficult is None:
            return _accumulate(self._evaluate(self._table))
        # What a difficult object hides depends on the threshold, so that each needs its own table.
        parts = [
            _accumulate(self._evaluate(self._table[~hidden], ious=slice(t, t + 1)))
            for t, hidden in enumerate(self._hidden)
        ]
        return Accumulated(
            np.concatenate([part.precision for part in parts]),
            np.concatenate([part.recall for part in parts]),
        )

    @cached_property
    def _at_half(self) -> hotcoco.COCOeval:
        """The evaluation for errors and confusions, which are counted at an IoU near 0.5."""
        return self._evaluate(self._table_at_half)

    @cached_property
    def _table_at_half(self) -> Table:
        """The detections without those of difficult objects at IoU 0.5."""
        return self._table if self._difficult is None else self._table[~self._hidden[0]]

    @cached_property
    def _hidden(self) -> NDArray[np.bool_]:
        """``(10, n)`` detections that found no object but a difficult one, per IoU threshold."""
        found = np.zeros((len(IOUS), len(self._table)), np.bool_)
        for cell in _cells(self._evaluate(self._table, "all")):
            if cell is not None:
                rows = np.asarray(cell["dtIds"], np.int64) - 1
                found[:, rows] = np.asarray(cell["dtMatched"], bool).reshape(len(IOUS), -1)
        overlaps = self._difficult if self._difficult is not None else np.zeros(len(self._table))
        return ~found & (overlaps >= IOUS[:, None])

    def _evaluate(
        self, table: Table, area: str | None = None, ious: slice = slice(None)
    ) -> hotcoco.COCOeval:
        evaluation = hotcoco.COCOeval(self._truth, self._truth.load_res(table), "bbox")
        evaluation.params.iou_thrs = IOUS[ious].tolist()
        if area is not None:
            evaluation.params.area_rng = [list(_AREAS[area])]
            evaluation.params.area_rng_lbl = [area]
        evaluation.evaluate()
        return evaluation

    def metrics(self) -> dict[str, float]:
        """Return the twelve COCO metrics; NaN without objects."""
        precision, recall = self._accumulated
        areas, most = range(1, len(_AREAS)), -1
        values = [
            precision[..., 0, most],
            precision[[0], ..., 0, most],
            precision[[5], ..., 0, most],
        ]
        values += [precision[..., area, most] for area in areas]
        values += [recall[..., 0, limit] for limit in range(3)]
        values += [recall[..., area, most] for area in areas]
        return dict(zip(METRICS, map(_mean_present, values), strict=True))

    def per_class(self) -> list[tuple[float, float]]:
        """Return ``(AP, AP50)`` of each of ``classes``; NaN for a class without objects."""
        precision = self._precision()
        return [
            (_mean(precision[:, :, k]), _mean(precision[0, :, k])) for k in range(len(self.classes))
        ]

    def curves(self) -> dict[str, Any]:
        """Return precision at 101 recalls: means over classes per IoU, and per class at IoU 0.5.

        Keys: ``recall`` (101), ``precision`` (IoU as text → 101), ``classes`` (class number → 101).
        """
        precision = self._precision()
        present = precision[0, 0] >= 0  # classes with objects
        means = precision[:, :, present].mean(2) if present.any() else np.zeros((10, 0))
        return {
            "recall": rounded(RECALLS),
            "precision": {f"{iou:.2f}": rounded(row) for iou, row in zip(IOUS, means, strict=True)},
            "classes": {
                number: rounded(precision[0, :, k])
                for k, number in enumerate(self.classes)
                if present[k]
            },
        }

    def tide(self) -> dict[str, Any]:
        """Return the cost of the errors (TIDE, Bolya et al., ECCV 2020, arXiv:2008.08115).

        Keys: ``cost`` (AP50 gained without that kind of error) and ``count`` by kind: Cls, Loc,
        Both, Dupe, Bkg, Miss; ``cost`` also has FP and FN.
        """
        errors = self._at_half.tide_errors()
        return {"cost": dict(errors["delta_ap"]), "count": dict(errors["counts"])}

    def confusion(self, *, conf: float = 0.25, iou: float = 0.45) -> NDArray[np.int64]:
        """Return ``(k + 1, k + 1)`` counts, rows the true class, columns the predicted one.

        The last column counts missed objects, the last row false positives on the background.
        """
        matrix = self._at_half.confusion_matrix(iou_thr=iou, min_score=conf)["matrix"]
        return np.asarray(matrix, np.int64)

    def confidence(self) -> dict[str, Any]:
        """Return precision, recall and F1 at confidence thresholds, and the threshold to use.

        At IoU 0.5, COCO's 100 detections per image and class; the keys are those of
        :func:`~tutelage.evaluation.confidence.by_confidence`.
        """
        table, hit = self._hits
        objects = dict(zip(self.classes, self.instances.tolist(), strict=True))
        return by_confidence(table[:, 5], table[:, 6], hit, objects)

    def score_of_probability(self, probability: float) -> float | None:
        """Return the score at which a detection is right, at IoU 0.5, with a probability.

        At most that of the largest mean F1, which some detections exceed. None if no object was
        found; see :mod:`~tutelage.evaluation.calibration`.
        """
        table, hit = self._hits
        found = score_of_probability(probability, table[:, 5], hit)
        best = self.confidence()["threshold"]
        return found if found is None or best is None else min(found, best)

    @cached_property
    def _hits(self) -> tuple[Table, NDArray[np.bool_]]:
        """Detections that are no crowd's, and which of them have found an object at IoU 0.5."""
        # By the number of the detection; those of crowds are not among them.
        status = self._at_half.image_diagnostics(iou_thr=0.5)["dt_status"]
        table = self._table_at_half[np.fromiter(status, np.int64, len(status)) - 1]
        return table, np.array(list(status.values()), "U2") == "tp"

    def matches(self, area: str = "all") -> list[ClassMatches]:
        """Return the matched detections of every class that has objects."""
        row_of = {int(image): row for row, image in enumerate(self.images)}
        cells: dict[int, list[tuple[int, Mapping[str, Any]]]] = {k: [] for k in self.classes}
        for cell in _cells(self._evaluate(self._table, area)):
            if cell is not None:
                cells[cell["category_id"]].append((row_of[cell["image_id"]], cell))
        hidden = None if self._difficult is None else self._hidden
        matches = (_join(own, len(self.images), hidden) for own in cells.values() if own)
        return [each for each in matches if each.objects.any()]

    def _precision(self) -> NDArray[np.float64]:
        """Return ``(10, 101, k)`` for all areas, 100 detections; −1 for classes without objects."""
        return self._accumulated.precision[:, :, :, 0, -1]


def _ground_truth(
    index: DatasetIndex, images: NDArray[np.int64], classes: Sequence[int]
) -> tuple[hotcoco.COCO, NDArray[np.int64]]:
    """Return the objects of the images and classes, and their number per class."""
    owner = np.repeat(np.arange(len(index)), index.counts)
    areas = index.areas if len(index.areas) else np.full(len(owner), np.nan, np.float32)
    crowds = index.ignored.chosen(index.ignored.kind == Ignored.CROWD)
    image = np.concatenate([owner, crowds.image])
    label = np.concatenate([index.labels, crowds.label]).astype(np.int64)
    xyxy = np.concatenate([index.boxes, crowds.xyxy]).astype(np.float64)
    box = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], 1)
    area = np.concatenate([areas, np.full(len(crowds), np.nan)])
    area = np.where(np.isnan(area), box[:, 2] * box[:, 3], area)
    crowd = np.arange(len(image)) >= len(owner)
    chosen = np.isin(image, images) & np.isin(label, classes)
    sizes = index.sizes.tolist()
    truth = hotcoco.COCO.from_arrays(
        [{"id": i, "width": sizes[i][0], "height": sizes[i][1]} for i in images.tolist()],
        [{"id": number, "name": index.names[number]} for number in classes],
        image[chosen],
        label[chosen],
        box[chosen],
        area=area[chosen],
        iscrowd=crowd[chosen],
    )
    count = np.bincount(label[chosen & ~crowd], minlength=len(index.names))
    return truth, count[list(classes)]


def _cells(evaluation: hotcoco.COCOeval) -> Sequence[Mapping[str, Any] | None]:
    """Return the matches of every image and class.

    They are many small objects that all stay: the garbage collector, which looks through them again
    and again while they are made, took most of the time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        return evaluation.eval_imgs
    finally:
        if collected:
            gc.enable()


def _accumulate(evaluation: hotcoco.COCOeval) -> Accumulated:
    evaluation.accumulate()
    arrays: Any = evaluation.eval
    return Accumulated(np.asarray(arrays["precision"]), np.asarray(arrays["recall"]))


def _difficult_overlaps(ignored: IgnoredObjects, table: Table) -> NDArray[np.float64] | None:
    """Return ``(n,)`` the IoU of each detection with the nearest difficult object of its class.

    None if there is no such object.
    """
    difficult = ignored.chosen(ignored.kind == Ignored.DIFFICULT)
    if not len(difficult):
        return None
    overlaps = np.zeros(len(table))
    xyxy = difficult.xyxy.astype(np.float64)
    boxes = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], 1)
    cell_of_object = np.stack([difficult.image, difficult.label], 1)
    for image, label in np.unique(cell_of_object, axis=0).tolist():
        rows = np.flatnonzero((table[:, 0] == image) & (table[:, 6] == label))
        own = boxes[(cell_of_object == (image, label)).all(1)]
        if len(rows):
            ious = bbox_iou(table[rows, 1:5], own, np.zeros(len(own), np.bool_))
            overlaps[rows] = ious.max(1)
    return overlaps


def _join(
    cells: Sequence[tuple[int, Mapping[str, Any]]], images: int, hidden: NDArray[np.bool_] | None
) -> ClassMatches:
    """Join the images of one class, best detection first, as COCO's accumulation does."""
    rows, parts = zip(*cells, strict=True)
    objects = np.zeros(images, np.int64)
    objects[list(rows)] = [sum(part["gtInDenominator"]) for part in parts]
    scores = [np.asarray(part["dtScores"], np.float64) for part in parts]
    order = np.argsort(-np.concatenate(scores), kind="stable")

    def flags(key: str) -> NDArray[np.bool_]:
        arrays = [np.asarray(part[key], bool).reshape(10, -1) for part in parts]
        return np.concatenate(arrays, 1)[:, order]

    ignored = flags("dtIgnore")
    if hidden is not None:
        rows_of_table = np.concatenate([np.asarray(part["dtIds"], np.int64) for part in parts]) - 1
        ignored |= hidden[:, rows_of_table[order]] & ~flags("dtMatched")
    return ClassMatches(
        image=np.repeat(rows, [len(score) for score in scores])[order],
        hit=flags("dtMatched") & ~ignored,
        ignored=ignored,
        objects=objects,
    )


def _mean_present(values: NDArray[np.float64]) -> float:
    """Return the mean of all but −1, COCO's value without objects; NaN if nothing is left."""
    present = values[values > -1]
    return float(present.mean()) if len(present) else float("nan")


def _mean(precision: NDArray[np.float64]) -> float:
    return float(precision.mean()) if precision.size and precision.min() >= 0 else float("nan")
