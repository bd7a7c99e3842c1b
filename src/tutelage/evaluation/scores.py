"""The result of an evaluation: COCO metrics and the detections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tutelage.data.index import DatasetIndex
from tutelage.evaluation.coco import METRICS, CocoEvaluation, Table
from tutelage.sanitise import json_values

Rows = Table | Sequence[Mapping[str, Any]]


class ClassScore(NamedTuple):
    """One class: AP and AP50 (NaN without objects) and the number of objects."""

    AP: float
    AP50: float
    instances: int


@dataclass(frozen=True, eq=False)
class Scores:
    """COCO metrics of one model on one data set, each 0..1 or NaN without objects.

    Attributes:
        AP: Mean over IoU 0.50:0.95 and classes; the others as named by COCO.
        per_class: By class name, in the order of the data set, of the evaluated classes.
        images: Number of images evaluated.
        instances: Number of objects in them.
        table: ``(n, 7)`` detections: image position, x, y, w, h, score, class.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    per_class: dict[str, ClassScore]
    images: int
    instances: int
    table: Table = field(repr=False)
    _evaluation: CocoEvaluation = field(repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """The twelve COCO metrics by name."""
        return {name: getattr(self, name) for name in METRICS}

    def score_of_probability(self, probability: float) -> float | None:
        """Return the score at which a detection is right, at IoU 0.5, with a probability.

        None if no object was found.
        """
        return self._evaluation.score_of_probability(probability)

    @property
    def detections(self) -> list[dict[str, Any]]:
        """The detections in COCO's result format; ``image_id`` is the position in the index."""
        return to_coco(self.table)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The detections as COCO results with the ids of the data set's own json.

        Where it has none, images are numbered by position and categories by class.
        """
        images, categories = self._evaluation.image_ids, self._evaluation.category_ids
        rows = self.detections
        for row in rows:
            if images:
                row["image_id"] = images[row["image_id"]]
            if categories:
                row["category_id"] = categories[row["category_id"]]
        return rows

    @cached_property
    def diagnostics(self) -> dict[str, Any]:
        """PR curves, TIDE errors and the confusion matrix (conf 0.25, IoU 0.45), JSON-able.

        ``confidence`` is precision, recall and F1 at confidence thresholds, with the one to use.
        """
        names = list(self.per_class)
        curves, confidence = self._evaluation.curves(), self._evaluation.confidence()
        number_to_name = dict(zip(self._evaluation.classes, names, strict=True))
        for each in (curves, confidence):
            each["classes"] = {
                number_to_name[number]: row for number, row in each["classes"].items()
            }
        return {
            "curves": curves,
            "confidence": confidence,
            "tide": self._evaluation.tide(),
            "confusion": {
                "names": [*names, "background"],
                "counts": self._evaluation.confusion().tolist(),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the detections as JSON values; NaN becomes None."""
        return {
            **json_values(self.metrics),
            "images": self.images,
            "instances": self.instances,
            "per_class": json_values(self.per_class),
            **self.diagnostics,
        }


def score(
    index: DatasetIndex,
    detections: Rows,
    *,
    images: Sequence[int] | None = None,
    classes: Iterable[int] | None = None,
) -> Scores:
    """Return the scores of detections.

    Args:
        index: Images and objects.
        detections: A table as in :class:`Scores`, or COCO results whose ``image_id`` is the
            position in the index.
        images: Positions of the evaluated images, with or without detections; all if None.
        classes: Class numbers to evaluate; all if None.
    """
    table = to_table(detections)
    evaluation = CocoEvaluation(index, table, images=images, classes=classes)
    names = _unique([index.names[number] for number in evaluation.classes], evaluation.classes)
    counts = evaluation.instances.tolist()
    per_class = {
        name: ClassScore(*values, instances)
        for name, values, instances in zip(names, evaluation.per_class(), counts, strict=True)
    }
    return Scores(
        **evaluation.metrics(),
        per_class=per_class,
        images=len(evaluation.images),
        instances=sum(counts),
        table=table,
        _evaluation=evaluation,
    )


def to_table(detections: Rows) -> Table:
    """Return detections, a table or COCO results, as an ``(n, 7)`` table."""
    if isinstance(detections, np.ndarray):
        return np.asarray(detections, np.float64).reshape(-1, 7)
    rows = [
        (each["image_id"], *each["bbox"], each["score"], each["category_id"]) for each in detections
    ]
    return np.array(rows, np.float64).reshape(-1, 7)


def to_coco(table: Table) -> list[dict[str, Any]]:
    """Return a table of detections as COCO results."""
    return [
        {"image_id": int(image), "category_id": int(category), "bbox": box, "score": confidence}
        for image, *box, confidence, category in table.tolist()
    ]


def _unique(names: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Append the number to class names that occur twice."""
    return [
        f"{name} ({number})" if names.count(name) > 1 else name
        for name, number in zip(names, numbers, strict=True)
    ]
