"""Precision, recall and F1 at confidence thresholds, and the threshold that is suggested."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.evaluation.synthetic_coco import detect, make_index
from tutelage.data.index import DatasetIndex, Ignored, IgnoredObjects
from tutelage.evaluation import score

Box = Sequence[float]


def one_image(labels: Sequence[int], names: Sequence[str] = ("a",)) -> DatasetIndex:
    """One image of 1000 px; object i is 20 px wide and high at (40 i, 0)."""
    left = 40.0 * np.arange(len(labels))
    boxes = np.stack([left, 0 * left, left + 20, 0 * left + 20], 1).astype(np.float32)
    return DatasetIndex.from_columns(
        names=names,
        root=Path("/nowhere"),
        source="made up",
        split="val",
        paths=[Path("/nowhere/0.png")],
        sizes=np.array([[1000, 1000]], np.int32),
        file_sizes=np.zeros(1, np.int64),
        boxes=boxes,
        labels=np.array(labels, np.int64),
        counts=np.array([len(labels)]),
    )


def hit(place: int, confidence: float, label: int = 0) -> list[float]:
    return [0, 40.0 * place, 0, 20, 20, confidence, label]


def false(confidence: float, label: int = 0) -> list[float]:
    return [0, 0, 500, 20, 20, confidence, label]


def confidence_of(index: DatasetIndex, rows: Any) -> dict[str, Any]:
    """Return the result; it is JSON, and nothing warns."""
    table = np.array(rows, float).reshape(-1, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(index, table).diagnostics["confidence"]
    assert found == json.loads(json.dumps(found, allow_nan=False))
    return found


def steps(*parts: tuple[float, int]) -> list[float]:
    """Return 101 values from (value, last threshold in hundredths)."""
    values: list[float] = []
    for value, last in parts:
        values += [round(value, 5)] * (last + 1 - len(values))
    return values


def test_one_class_by_hand() -> None:
    rows = [hit(0, 0.9), false(0.8), hit(1, 0.6), hit(2, 0.3), false(0.2)]
    found = confidence_of(one_image([0] * 4), rows[::-1])
    assert found["thresholds"] == [round(number * 0.01, 2) for number in range(101)]
    precision = ((3 / 5, 19), (3 / 4, 29), (2 / 3, 59), (1 / 2, 79), (1, 89), (1, 100))
    recall = ((3 / 4, 19), (3 / 4, 29), (2 / 4, 59), (1 / 4, 79), (1 / 4, 89), (0, 100))
    f1 = ((6 / 9, 19), (6 / 8, 29), (4 / 7, 59), (2 / 6, 79), (2 / 5, 89), (0, 100))
    expected = {"precision": steps(*precision), "recall": steps(*recall), "f1": steps(*f1)}
    assert found["curves"] == expected
    at_best = {"precision": 0.75, "recall": 0.75, "f1": 0.75}
    assert found["threshold"] == 0.24  # the middle of 0.20 … 0.29
    assert {key: found[key] for key in at_best} == at_best
    assert found["classes"] == {"a": {**at_best, "curve": expected["f1"]}}


def test_the_first_of_two_plateaus_is_chosen() -> None:
    """Both detections of 0.9 and all four have F1 2/3, those between less."""
    rows = [hit(0, 0.9), false(0.6), false(0.5), hit(1, 0.4)]
    found = confidence_of(one_image([0, 0]), rows)
    f1 = steps((4 / 6, 39), (2 / 5, 49), (2 / 4, 59), (2 / 3, 89), (0, 100))
    assert found["curves"]["f1"] == f1
    assert (found["threshold"], found["precision"], found["recall"]) == (0.19, 0.5, 1.0)


def test_means_are_over_the_classes_with_objects() -> None:
    """Class b has no detection, class c no object; class d alone would have 0.24."""
    index = one_image([0, 0, 1, 3], names="abcd")
    rows = [hit(0, 0.9), hit(1, 0.2), false(0.7, 3), false(0.6, 3), hit(3, 0.5, 3), false(0.95, 2)]
    found = confidence_of(index, rows)
    f1_of_a, f1_of_d = steps((1, 19), (2 / 3, 89), (0, 100)), steps((2 / 4, 49), (0, 100))
    assert {name: row["curve"] for name, row in found["classes"].items()} == {
        "a": f1_of_a,
        "b": [0.0] * 101,
        "d": f1_of_d,
    }
    assert found["curves"]["f1"] == pytest.approx(
        ((np.array(f1_of_a) + f1_of_d) / 3).tolist(), abs=1e-5
    )
    assert found["threshold"] == 0.09
    assert found["classes"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "curve": [0.0] * 101}
    values = [found["classes"]["d"][key] for key in ("precision", "recall", "f1")]
    assert values == [0.33333, 1.0, 0.5]
    # above 0.90 nothing is left of a and d (1 each), and b never had anything (0)
    assert found["curves"]["precision"][95] == 0.66667
    assert found["precision"] == 0.44444  # (1 + 0 + 1/3) / 3


@pytest.mark.parametrize("place", [1, 29, 35, 47, 57, 58, 70, 99])
def test_a_score_is_not_above_itself(place: int) -> None:
    """As in ``predict``; and equal scores go together."""
    confidence = float(f"0.{place:02}")
    rows = [hit(0, confidence), hit(1, confidence), false(confidence)]
    found = confidence_of(one_image([0, 0]), rows)
    assert found["curves"]["recall"] == steps((1, place - 1), (0, 100))
    assert found["curves"]["precision"] == steps((2 / 3, place - 1), (1, 100))


def test_scores_of_one_are_kept_until_the_end() -> None:
    found = confidence_of(one_image([0]), [hit(0, 1.0)])
    assert found["curves"]["f1"] == steps((1, 99), (0, 100))
    assert found["threshold"] == 0.49
    percent = confidence_of(one_image([0]), [hit(0, 90.0)])  # not a score, but not an error either
    assert percent["threshold"] == 0.5


def test_without_objects_nothing_is_defined() -> None:
    for rows in ([], [false(0.5)]):
        found = confidence_of(one_image([]), rows)
        for key in ("threshold", "precision", "recall", "f1"):
            assert found[key] is None
        assert found["curves"] == {"precision": [], "recall": [], "f1": []}
        assert found["classes"] == {}


def test_where_nothing_is_found_no_threshold_is_suggested() -> None:
    found = confidence_of(one_image([0]), [])
    assert found["threshold"] is None
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)
    assert found["curves"] == dict.fromkeys(("precision", "recall", "f1"), [0.0] * 101)
    found = confidence_of(one_image([0]), [false(0.3)])
    assert found["threshold"] is None
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)
    assert found["curves"]["precision"] == steps((0, 29), (1, 100))


@pytest.mark.parametrize("kind", [Ignored.CROWD, Ignored.DIFFICULT])
def test_detections_of_ignored_objects_count_neither_way(kind: Ignored) -> None:
    index = one_image([0, 0])
    zero = np.zeros(1, np.int64)
    place = np.array([[0, 500, 20, 520]], np.float32)  # where ``false`` is
    ignored = IgnoredObjects(zero, zero, place, np.array([kind], np.uint8))
    rows = [hit(0, 0.9), false(0.8), false(0.7), [0, 300, 300, 20, 20, 0.6, 0], hit(1, 0.4)]
    found = confidence_of(replace(index, ignored=ignored), rows)
    precision = steps((2 / 3, 39), (1 / 2, 59), (1, 89), (1, 100))
    assert found["curves"]["precision"] == precision
    assert found["curves"]["recall"] == steps((1, 39), (1 / 2, 89), (0, 100))
    only = confidence_of(replace(index, ignored=ignored), [false(0.8)])
    assert only["curves"]["precision"] == [0.0] * 101  # as without any detection


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_equal_to_loops_over_boxes(seed: int, ties: bool) -> None:
    """Crowds, difficult objects, more than 100 detections per image and class, some images."""
    index = make_index(12, seed=seed, most=12)
    table = detect(index, seed=seed, ties=ties, false=15)
    image = int(np.flatnonzero(index.counts)[0])
    many = detect(index, seed=seed + 9, false=150 * 12)
    many = many[(many[:, 0] == image) & (many[:, 6] == 0)]
    many[:, 5] = many[:, 5].round(1 if ties else 6)
    assert len(many) > 100
    index = with_ignored(index, table[table[:, 0] != image], seed)
    table = np.concatenate([table, many])
    chosen = sorted({image, 0, 2, 4, 7, 8, 11})
    found = score(index, table, images=chosen).diagnostics["confidence"]
    curves = {
        index.names[label]: by_loops(index, table, chosen, label)
        for label in sorted(set(index.labels.tolist()))
    }
    assert found["classes"].keys() == curves.keys()
    for name, curve in curves.items():
        f1 = [each for _, _, each in curve]
        assert found["classes"][name]["curve"] == pytest.approx(f1, abs=1.1e-5)
    means = np.mean(list(curves.values()), 0)
    for column, key in enumerate(("precision", "recall", "f1")):
        assert found["curves"][key] == pytest.approx(means[:, column].tolist(), abs=1.1e-5)
        assert found[key] == found["curves"][key][round(100 * found["threshold"])]
    assert found["f1"] == max(found["curves"]["f1"]) > 0.2


def with_ignored(index: DatasetIndex, table: NDArray[np.float64], seed: int) -> DatasetIndex:
    """Add crowds and difficult objects where there are some of the detections."""
    generator = np.random.default_rng(seed)
    near = table[(table[:, 6] < 3) & (generator.random(len(table)) < 0.2)]
    xyxy = np.concatenate([near[:, 1:3], near[:, 1:3] + near[:, 3:5]], 1) + 1
    image, label = near[:, 0].astype(np.int64), near[:, 6].astype(np.int64)
    kind = generator.choice([Ignored.CROWD, Ignored.DIFFICULT], len(near)).astype(np.uint8)
    xyxy[kind == Ignored.CROWD, 2:] += 100  # the IoU with a crowd is small
    return replace(index, ignored=IgnoredObjects(image, label, xyxy.astype(np.float32), kind))


def by_loops(
    index: DatasetIndex, table: NDArray[np.float64], images: Sequence[int], label: int
) -> list[tuple[float, float, float]]:
    """Return precision, recall and F1 of a class, evaluated anew at each threshold."""
    curve: list[tuple[float, float, float]] = []
    anything = False
    for hundredths in range(101):
        hits = wrong = objects = 0
        for image in images:
            item = index.item(image)
            truth = [
                box for box, of in zip(item.xyxy.tolist(), item.label, strict=True) if of == label
            ]
            ignored = [
                (box, what == Ignored.CROWD)
                for box, of, where, what in zip(
                    index.ignored.xyxy.tolist(),
                    index.ignored.label,
                    index.ignored.image,
                    index.ignored.kind,
                    strict=True,
                )
                if (of, where) == (label, image)
            ]
            kept = [
                row
                for row in table.tolist()
                if (row[0], row[6]) == (image, label) and row[5] > float(f"{hundredths}e-2")
            ]
            kept.sort(key=lambda row: -row[5])
            objects += len(truth)
            for _, x, y, w, h, _, _ in kept[:100]:
                box = (x, y, x + w, y + h)
                ious = [shared(box, other) for other in truth]
                if ious and max(ious) >= 0.5:
                    hits += 1
                    del truth[len(ious) - 1 - ious[::-1].index(max(ious))]
                elif not any(shared(box, other, crowd=crowd) >= 0.5 for other, crowd in ignored):
                    wrong += 1
        anything = anything or hits + wrong > 0
        precision = hits / (hits + wrong) if hits + wrong else float(anything)
        recall = hits / objects
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        curve.append((precision, recall, f1))
    return curve


def shared(box: Box, other: Box, *, crowd: bool = False) -> float:
    """Return the IoU, or of a crowd the share of the first box in it."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    both = max(wide, 0) * max(high, 0)
    own, its = ((each[2] - each[0]) * (each[3] - each[1]) for each in (box, other))
    return both / (own if crowd else own + its - both)
