"""COCO metrics by hotcoco, which is used in this file alone.

Detections travel as a table, one row each: ``image_id, x, y, w, h, score, category_id``; image ids
are positions in the :class:`~tutelage.data.index.DatasetIndex`, category ids its class numbers,
boxes pixels of the original image. Object sizes (small, medium, large: under 32², under 96², above)
are areas of the boxes in the original image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import hotcoco
import numpy as np
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex

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


class CocoEvaluation:
    """Detections of one model, matched with the objects of an index.

    Args:
        index: Images and objects.
        table: ``(n, 7)`` detections, as above.
        images: Positions of the evaluated images; all if None.
        classes: Class numbers to evaluate; all if None.
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

    @cached_property
    def _evaluated(self) -> hotcoco.COCOeval:
        evaluation = self._evaluate()
        evaluation.accumulate()
        evaluation.summary_lines()  # fills `stats`; summarize() would print
        return evaluation

    def _evaluate(self, area: str | None = None) -> hotcoco.COCOeval:
        evaluation = hotcoco.COCOeval(self._truth, self._truth.load_res(self._table), "bbox")
        if area is not None:
            evaluation.params.area_rng = [list(_AREAS[area])]
            evaluation.params.area_rng_lbl = [area]
        evaluation.evaluate()
        return evaluation

    def metrics(self) -> dict[str, float]:
        """Return the twelve COCO metrics; NaN without objects."""
        return {
            name: _nan(value) for name, value in zip(METRICS, self._evaluated.stats, strict=True)
        }

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
            "recall": _rounded(RECALLS),
            "precision": {
                f"{iou:.2f}": _rounded(row) for iou, row in zip(IOUS, means, strict=True)
            },
            "classes": {
                number: _rounded(precision[0, :, k])
                for k, number in enumerate(self.classes)
                if present[k]
            },
        }

    def tide(self) -> dict[str, Any]:
        """Return the cost of the errors (TIDE, Bolya et al., ECCV 2020, arXiv:2008.08115).

        Keys: ``cost`` (AP50 gained without that kind of error) and ``count`` by kind: Cls, Loc,
        Both, Dupe, Bkg, Miss; ``cost`` also has FP and FN.
        """
        errors = self._evaluated.tide_errors()
        return {"cost": dict(errors["delta_ap"]), "count": dict(errors["counts"])}

    def confusion(self, *, conf: float = 0.25, iou: float = 0.45) -> NDArray[np.int64]:
        """Return ``(k + 1, k + 1)`` counts, rows the true class, columns the predicted one.

        The last column counts missed objects, the last row false positives on the background.
        """
        matrix = self._evaluated.confusion_matrix(iou_thr=iou, min_score=conf)["matrix"]
        return np.asarray(matrix, np.int64)

    def matches(self, area: str = "all") -> list[ClassMatches]:
        """Return the matched detections of every class that has objects."""
        row_of = {int(image): row for row, image in enumerate(self.images)}
        cells: dict[int, list[tuple[int, Mapping[str, Any]]]] = {k: [] for k in self.classes}
        for cell in self._evaluate(area).eval_imgs:
            if cell is not None:
                cells[cell["category_id"]].append((row_of[cell["image_id"]], cell))
        matches = (_join(own, len(self.images)) for own in cells.values() if own)
        return [each for each in matches if each.objects.any()]

    def _precision(self) -> NDArray[np.float64]:
        """Return ``(10, 101, k)`` for all areas, 100 detections; −1 for classes without objects."""
        arrays: Any = self._evaluated.eval
        return np.asarray(arrays["precision"])[:, :, :, 0, -1]


def _ground_truth(
    index: DatasetIndex, images: NDArray[np.int64], classes: Sequence[int]
) -> tuple[hotcoco.COCO, NDArray[np.int64]]:
    """Return the objects of the images and classes, and their number per class."""
    owner = np.repeat(np.arange(len(index)), index.counts)
    chosen = np.isin(owner, images) & np.isin(index.labels, classes)
    label, xyxy = index.labels[chosen], index.boxes[chosen].astype(np.float64)
    sizes = index.sizes.tolist()
    truth = hotcoco.COCO.from_arrays(
        [{"id": i, "width": sizes[i][0], "height": sizes[i][1]} for i in images.tolist()],
        [{"id": number, "name": index.names[number]} for number in classes],
        owner[chosen],
        label,
        np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], 1),
    )
    return truth, np.bincount(label, minlength=len(index.names))[list(classes)]


def _join(cells: Sequence[tuple[int, Mapping[str, Any]]], images: int) -> ClassMatches:
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
    return ClassMatches(
        image=np.repeat(rows, [len(score) for score in scores])[order],
        hit=flags("dtMatched") & ~ignored,
        ignored=ignored,
        objects=objects,
    )


def _nan(value: float) -> float:
    """Replace −1, COCO's value without objects, by NaN."""
    return float("nan") if value < 0 else float(value)


def _mean(precision: NDArray[np.float64]) -> float:
    return float(precision.mean()) if precision.size and precision.min() >= 0 else float("nan")


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in values]
