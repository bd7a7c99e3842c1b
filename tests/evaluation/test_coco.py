"""Scores: equal to pycocotools, and readable by others."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.evaluation.synthetic_coco import NAMES, detect, make_index, pycocotools_evaluation
from tutelage.evaluation import score
from tutelage.evaluation.coco import METRICS, CocoEvaluation
from tutelage.evaluation.scores import to_table


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_equal_to_pycocotools(seed: int, ties: bool) -> None:
    index = make_index(seed=seed)
    table = detect(index, seed=seed, ties=ties)
    reference = pycocotools_evaluation(index, table)
    found = score(index, table)
    assert [found.metrics[name] for name in METRICS] == pytest.approx(
        reference.stats.tolist(), abs=1e-6
    )
    precision = reference.eval["precision"][:, :, :, 0, -1]
    for number, (name, each) in enumerate(found.per_class.items()):
        assert name == NAMES[number]
        if name == "absent":
            assert math.isnan(each.AP)
            assert math.isnan(each.AP50)
        else:
            assert pytest.approx(precision[:, :, number].mean(), abs=1e-6) == each.AP
            assert pytest.approx(precision[0, :, number].mean(), abs=1e-6) == each.AP50
        assert each.instances == (index.labels == number).sum()
    assert (found.images, found.instances) == (40, len(index.labels))


def test_crowded_images_count_the_best_hundred() -> None:
    index = make_index(6, most=40)
    table = detect(index, seed=3, false=300)
    assert np.bincount(table[:, 0].astype(int)).max() > 250
    reference = pycocotools_evaluation(index, table)
    assert list(score(index, table).metrics.values()) == pytest.approx(
        reference.stats.tolist(), abs=1e-6
    )


def test_area_is_that_of_the_original_image() -> None:
    """Boxes of 31 and 33 pixels fall on either side of the limit of small objects."""
    index = make_index(5, names=("a", "b"), most=2)
    index.boxes[:] = [10, 10, 41, 41]
    index.boxes[0] = [10, 10, 43, 43]
    found = score(index, np.array([[1, 10, 10, 33, 33, 0.9, 0]]))
    assert found.APs == 0.0
    assert found.APm == pytest.approx(1.0)
    assert math.isnan(found.APl)


def test_nothing_found_and_nothing_to_find() -> None:
    index = make_index()
    none = score(index, [])
    assert (none.AP, none.AP50, none.AR100) == (0.0, 0.0, 0.0)
    assert none.per_class["cell"].AP == 0.0
    assert none.detections == []
    empty = score(make_index(empty=True), detect(index, seed=1))
    assert all(math.isnan(value) for value in empty.metrics.values())
    text = json.dumps(empty.to_dict(), allow_nan=False)
    assert json.loads(text)["AP"] is None
    assert json.loads(text)["instances"] == 0


def test_only_the_images_evaluated_count() -> None:
    index = make_index()
    table = detect(index, seed=2)
    chosen = [3, 8, 11, 17, 30, 31]
    found = score(index, table, images=chosen)
    expected = score(index.subset(chosen), _renumbered(table, chosen))
    assert found.metrics == pytest.approx(expected.metrics, nan_ok=True)
    assert found.images == 6


def _renumbered(table: np.ndarray, chosen: list[int]) -> np.ndarray:
    kept = table[np.isin(table[:, 0], chosen)].copy()
    kept[:, 0] = [chosen.index(int(image)) for image in kept[:, 0]]
    return kept


def test_only_the_classes_reached_count() -> None:
    index = make_index()
    table = detect(index, seed=2)
    found = score(index, table, classes={2, 0})
    everything = score(index, table)
    assert list(found.per_class) == ["cell", "rod"]
    assert found.per_class["rod"] == everything.per_class["rod"]
    mean = (everything.per_class["cell"].AP + everything.per_class["rod"].AP) / 2
    assert pytest.approx(mean) == found.AP
    assert len(found.diagnostics["confusion"]["counts"]) == 3


def test_coco_results_and_tables_are_the_same() -> None:
    index = make_index()
    table = detect(index, seed=2)
    found = score(index, table)
    again = score(index, json.loads(json.dumps(found.detections)))
    assert again.metrics == found.metrics
    assert np.array_equal(to_table(found.detections), table)
    first = found.detections[0]
    assert set(first) == {"image_id", "category_id", "bbox", "score"}
    assert isinstance(first["image_id"], int)
    assert isinstance(first["category_id"], int)


def test_to_dict_is_json_and_complete() -> None:
    index = make_index()
    found = score(index, detect(index, seed=2))
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["AP"] == found.AP
    assert content["per_class"]["cell"] == {
        "AP": found.per_class["cell"].AP,
        "AP50": found.per_class["cell"].AP50,
        "instances": found.per_class["cell"].instances,
    }
    assert content["per_class"]["absent"]["AP"] is None
    curves = content["curves"]
    assert len(curves["recall"]) == 101
    assert list(curves["precision"]) == [f"{0.5 + 0.05 * step:.2f}" for step in range(10)]
    assert np.mean(list(curves["precision"].values())) == pytest.approx(found.AP, abs=1e-4)
    assert np.mean(curves["classes"]["rod"]) == pytest.approx(found.per_class["rod"].AP50, abs=1e-4)
    assert "absent" not in curves["classes"]
    assert set(content["tide"]["count"]) == {"Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"}
    assert content["tide"]["count"]["Dupe"] > 0
    confusion = np.array(content["confusion"]["counts"])
    assert content["confusion"]["names"] == [*NAMES, "background"]
    assert confusion[:-1].sum() == found.instances  # every object is in one row, found or missed


def test_classes_of_one_name_are_told_apart() -> None:
    index = make_index(names=("a", "a", "b"))
    assert list(score(index, detect(index, seed=1)).per_class) == ["a (0)", "a (1)", "b"]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    index = make_index()
    score(index, detect(index, seed=2)).to_dict()
    CocoEvaluation(index, detect(index, seed=1)).matches("small")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_matches_hold_every_object_and_detection() -> None:
    index = make_index()
    table = detect(index, seed=2)
    found = CocoEvaluation(index, table).matches()
    assert len(found) == 3  # the fourth class has no objects
    for number, each in enumerate(found):
        assert each.objects.sum() == (index.labels == number).sum()
        assert len(each.image) == (table[:, 6] == number).sum()
        assert not each.ignored.any()
        assert each.objects.sum() >= each.hit[0].sum() > each.hit[9].sum()
