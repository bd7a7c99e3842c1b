"""Crowds, areas and difficult objects: the AP of pycocotools, and that of Pascal VOC."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data.write_dataset import write_image
from tests.evaluation.synthetic_coco import detect, make_index
from tutelage.data import DatasetIndex, open_dataset
from tutelage.data.index import Ignored, IgnoredObjects
from tutelage.evaluation import bootstrap_metric, score
from tutelage.evaluation.coco import METRICS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def write_json(folder: Path, seed: int) -> dict[str, Any]:
    """A json with gaps in its ids, crowds, areas of segments, and images without objects."""
    generator = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(12):
        write_image(folder / f"{number}.png", 160, 120, seed=number)
        size = {"width": 160, "height": 120}
        images.append({"id": 13 * number + 4, "file_name": f"{number}.png", **size})
        for _ in range(0 if number % 4 == 1 else int(generator.integers(1, 7))):
            w, h = generator.uniform(8, 110, 2).round(2)
            x, y = (generator.uniform(0, 1, 2) * (160 - w, 120 - h)).round(2)
            crowd = int(generator.random() < 0.25)
            each = {"id": len(annotations) + 1, "image_id": 13 * number + 4, "iscrowd": crowd}
            each |= {"category_id": int(generator.choice([2, 9, 17])), "bbox": [x, y, w, h]}
            annotations.append(each | {"area": round(w * h * generator.uniform(0.4, 1), 3)})
    categories = [{"id": key, "name": name} for key, name in ((9, "b"), (2, "a"), (17, "c"))]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "val.json").write_text(json.dumps(document))
    return document


def detections_near(index: DatasetIndex, seed: int) -> NDArray[np.float64]:
    """Detections of objects, several of the parts of each crowd, and some of nothing."""
    generator = np.random.default_rng(seed)
    rows = detect(index, seed=seed).tolist()
    for image, label, (x1, y1, x2, y2) in zip(
        index.ignored.image, index.ignored.label, index.ignored.xyxy.tolist(), strict=True
    ):
        for _ in range(3):
            w, h = (x2 - x1) * generator.uniform(0.3, 1.2), (y2 - y1) * generator.uniform(0.3, 1)
            x, y = x1 + generator.uniform(-2, 5), y1 + generator.uniform(-2, 5)
            rows.append([image, x, y, w, h, generator.random(), label])
    table = np.array(rows, float)
    table[:, 1:5] = table[:, 1:5].round(3)
    return table


def pycocotools_stats(document: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(document))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float("nan") if value < 0 else value for value in evaluation.stats.tolist()]


@pytest.mark.parametrize("seed", range(6))
def test_a_json_has_the_ap_of_pycocotools(tmp_path: Path, seed: int) -> None:
    document = write_json(tmp_path, seed)
    index = open_dataset(tmp_path / "val.json", "val")
    scores = score(index, detections_near(index, seed))
    expected = pycocotools_stats(document, scores.results)
    assert [scores.metrics[name] for name in METRICS] == pytest.approx(
        expected, abs=1e-6, nan_ok=True
    )
    crowds = sum(each["iscrowd"] for each in document["annotations"])
    assert crowds
    assert scores.instances == len(document["annotations"]) - crowds
    ap = bootstrap_metric(index, scores.table, draws=1)[0]
    assert ap == pytest.approx(expected[0], abs=1e-6)


def test_ids_of_the_json_and_positions(tmp_path: Path) -> None:
    document = write_json(tmp_path, 0)
    index = open_dataset(tmp_path / "val.json", "val")
    table = np.array([[3, 1, 2, 30, 40, 0.5, 1]])
    (row,) = score(index, table).results
    assert (row["image_id"], row["category_id"]) == (index.image_ids[3], 9)
    assert document["images"][3]["id"] in index.image_ids.tolist()
    (row,) = score(index, table).detections
    assert (row["image_id"], row["category_id"]) == (3, 1)
    (row,) = score(make_index(), table).results
    assert (row["image_id"], row["category_id"]) == (3, 1)


def voc_ap(
    truth: dict[int, list[tuple[NDArray[np.float64], bool]]], rows: list[tuple[int, Any, float]]
) -> float:
    """AP50 at 101 recalls of one class, with the matching of Pascal VOC's development kit."""
    rows = sorted(rows, key=lambda row: -row[2])
    found: set[tuple[int, int]] = set()
    flags: list[bool] = []
    for image, box, _ in rows:
        ious = [_iou(box, other) for other, _ in truth.get(image, [])]
        best = int(np.argmax(ious)) if ious else -1
        if best >= 0 and ious[best] >= 0.5:
            if truth[image][best][1]:
                continue  # difficult
            flags.append((image, best) not in found)
            found.add((image, best))
        else:
            flags.append(False)
    objects = sum(not difficult for boxes in truth.values() for _, difficult in boxes)
    hits = np.cumsum(flags)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / objects, np.linspace(0, 1, 101))
    return float(np.append(envelope, 0.0)[np.minimum(at, len(envelope))].mean())


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    both = float(sides.prod())
    return both / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - both)


@pytest.mark.parametrize("seed", range(4))
def test_difficult_objects_count_as_in_pascal_voc(seed: int) -> None:
    """Objects far apart, so that the two ways to choose among overlapping ones agree."""
    generator = np.random.default_rng(seed)
    index = make_index(30, seed=seed, names=("a",), most=2)
    owner = np.repeat(np.arange(len(index)), index.counts)
    wh = generator.uniform(20, 60, (len(owner), 2))
    index.boxes[:] = np.concatenate([np.full((len(owner), 2), 5.0), 5.0 + wh], 1)
    place = index.boxes + 100  # a difficult object in each image, elsewhere
    nothing = np.zeros(len(owner), np.int64)
    kind = np.full(len(owner), Ignored.DIFFICULT, np.uint8)
    index = replace(index, ignored=IgnoredObjects(owner, nothing, place, kind))
    rows: list[list[float]] = []
    for image, box in zip(owner, index.boxes.astype(float), strict=True):
        for shift in (0.0, 100.0, 100.0, 300.0):  # the difficult one is found twice
            x, y = box[:2] + shift + generator.uniform(-9, 9, 2)
            w, h = (box[2:] - box[:2]) * generator.uniform(0.8, 1.2, 2)
            rows.append([image, x, y, w, h, generator.random(), 0])
    table = np.array(rows)
    truth = {
        int(image): [(index.boxes[i].astype(float), False), (place[i].astype(float), True)]
        for i, image in enumerate(owner)
    }
    corners = np.concatenate([table[:, 1:3], table[:, 1:3] + table[:, 3:5]], 1)
    found = [(int(row[0]), box, row[5]) for row, box in zip(table, corners, strict=True)]
    expected = voc_ap(truth, found)
    assert pytest.approx(expected, abs=1e-6) == score(index, table).AP50
    assert bootstrap_metric(index, table, draws=1, metric="AP50")[0] == pytest.approx(expected)
    without = replace(index, ignored=IgnoredObjects.none())
    assert expected - 0.02 > score(without, table).AP50
    diagnostics = score(index, table).diagnostics
    hidden = sum(
        max(_iou(box, other) for other, difficult in truth[image] if difficult) >= 0.5
        for image, box, _ in found
    )
    background = score(without, table).diagnostics["tide"]["count"]["Bkg"]
    assert diagnostics["tide"]["count"]["Bkg"] <= background - hidden


def test_a_difficult_object_is_found_by_overlap_not_by_parts() -> None:
    """Half of a difficult object lies inside it, but has an IoU of 0.5 alone."""
    index = make_index(1, names=("a",), most=2, empty=True)
    boxes = np.array([[0, 0, 40, 40]], np.float32)
    index = replace(index, boxes=boxes, labels=np.zeros(1, np.int32), offsets=np.array([0, 1]))
    place, zero = np.array([[100, 100, 140, 140]], np.float32), np.zeros(1, np.int64)
    table = np.array([[0, 100, 100, 40, 20, 0.9, 0], [0, 0, 0, 40, 40, 0.8, 0]])
    aps = {}
    for kind in (Ignored.CROWD, Ignored.DIFFICULT):
        ignored = IgnoredObjects(zero, zero, place, np.array([kind], np.uint8))
        found = score(replace(index, ignored=ignored), table)
        aps[kind] = (found.AP50, found.AP75)
    assert aps[Ignored.CROWD] == pytest.approx((1.0, 1.0))
    assert aps[Ignored.DIFFICULT] == pytest.approx((1.0, 0.5))
