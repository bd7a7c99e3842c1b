"""Random data sets, detections near their objects, and pycocotools as the reference."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex
from tutelage.evaluation import Difference, bootstrap_metric, paired_difference
from tutelage.evaluation.scores import Rows

NAMES = ("cell", "dot", "rod", "absent")


def make_index(
    images: int = 40,
    *,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    most: int = 9,
    empty: bool = False,
) -> DatasetIndex:
    """Random objects of all sizes; every fifth image has none, and the last class never occurs."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, most, images)
    counts[::5] = 0
    if empty:
        counts[:] = 0
    total = int(counts.sum())
    sizes = generator.integers(200, 700, (images, 2))
    limits = np.repeat(sizes, counts, 0).astype(float)
    wh = np.minimum(np.exp(generator.uniform(1.5, 5.5, (total, 2))), limits * 0.9)
    corner = generator.uniform(0, 1, (total, 2)) * (limits - wh)
    return DatasetIndex.from_columns(
        names=names,
        root=Path("/nowhere"),
        source="made up",
        split="val",
        paths=[Path(f"/nowhere/{number}.png") for number in range(images)],
        sizes=sizes.astype(np.int32),
        file_sizes=np.zeros(images, np.int64),
        boxes=np.concatenate([corner, corner + wh], 1).astype(np.float32),
        labels=generator.integers(0, max(len(names) - 1, 1), total),
        counts=counts,
    )


def detect(
    index: DatasetIndex,
    *,
    seed: int,
    found: float = 0.8,
    noise: float = 0.07,
    false: float = 1.0,
    ties: bool = False,
) -> NDArray[np.float64]:
    """Most objects, shifted a little, and some things that are not there, of every class."""
    generator = np.random.default_rng(seed)
    rows: list[list[float]] = []
    for position, item in enumerate(index):
        if position % 7 == 3:
            continue  # nothing found
        for box, label in zip(item.xyxy.astype(float), item.label.tolist(), strict=True):
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            if generator.random() < found:
                dx, dy, dw, dh = generator.normal(0, noise, 4) * (w, h, w, h)
                rows.append(
                    [
                        position,
                        x + dx,
                        y + dy,
                        max(w + dw, 1),
                        max(h + dh, 1),
                        generator.beta(4, 2),
                        label,
                    ]
                )
            if generator.random() < 0.2:  # a second one on the same object, or of another class
                other = int(generator.integers(0, len(index.names)))
                rows.append([position, x, y, w, h, generator.beta(2, 3), other])
        for _ in range(generator.poisson(false)):
            w, h = np.exp(generator.uniform(1.5, 5, 2))
            x, y = generator.uniform(0, 300, 2)
            rows.append(
                [
                    position,
                    x,
                    y,
                    w,
                    h,
                    generator.beta(2, 4),
                    generator.integers(0, len(index.names)),
                ]
            )
    table = np.array(rows, float).reshape(-1, 7)
    table[:, 5] = np.round(table[:, 5], 1 if ties else 12)
    return table[generator.permutation(len(table))]


def pycocotools_evaluation(
    index: DatasetIndex, table: NDArray[np.float64], draw: Sequence[int] | None = None
) -> Any:
    """The evaluation of pycocotools; with ``draw`` of those images, each repetition an image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    draw = range(len(index)) if draw is None else draw
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for new, old in enumerate(draw):
        item = index.item(int(old))
        images.append({"id": new, "width": item.size_wh[0], "height": item.size_wh[1]})
        for box, label in zip(item.xyxy.astype(float), item.label.tolist(), strict=True):
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            number = len(annotations) + 1
            annotations.append(
                {
                    "id": number,
                    "image_id": new,
                    "category_id": label,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        results += [
            {
                "image_id": new,
                "category_id": int(row[6]),
                "bbox": row[1:5].tolist(),
                "score": row[5],
            }
            for row in table[table[:, 0] == old]
        ]
    categories = [{"id": number, "name": name} for number, name in enumerate(index.names)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "categories": categories, "annotations": annotations}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def compare_seeds(
    index: DatasetIndex, runs_a: Sequence[Rows], runs_b: Sequence[Rows], *, draws: int
) -> Difference:
    """Compare two arms of several runs each."""
    a, b = (
        [bootstrap_metric(index, run, draws=draws) for run in runs] for runs in (runs_a, runs_b)
    )
    return paired_difference(a, b, images=len(index))
