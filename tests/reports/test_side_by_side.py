"""Which detections are right, and on which images two arms disagree."""

import numpy as np
import pytest

from tests.run.small_runs import make_data
from tutelage.data import open_dataset
from tutelage.reports.side_by_side import disagreement, match, most_different, pictures


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


def rows(*given):
    """Detections: image, x, y, w, h, score, class."""
    return np.array(given, float).reshape(-1, 7)


@pytest.mark.parametrize(
    ("found", "labels", "objects", "object_labels", "expected"),
    [
        (boxes(), [], boxes([0, 0, 10, 10]), [0], []),
        (boxes([0, 0, 10, 10]), [0], boxes(), [], [-1]),
        (boxes([0, 0, 10, 10]), [0], boxes([0, 0, 10, 10]), [0], [0]),
        (boxes([0, 0, 10, 10]), [1], boxes([0, 0, 10, 10]), [0], [-1]),  # another class
        (boxes([0, 0, 10, 10], [0, 0, 10, 9]), [0, 0], boxes([0, 0, 10, 10]), [0], [0, -1]),
        (boxes([0, 0, 10, 5]), [0], boxes([0, 0, 10, 10]), [0], [0]),  # IoU 0.5 itself
        (boxes([0, 0, 10, 4.9]), [0], boxes([0, 0, 10, 10]), [0], [-1]),
        # the better one takes its best; the other is content with what is left
        (
            boxes([0, 0, 10, 10], [0, 0, 10, 10]),
            [0, 0],
            boxes([0, 0, 10, 8], [0, 0, 10, 10]),
            [0, 0],
            [1, 0],
        ),
    ],
)
def test_each_detection_has_the_free_object_that_it_overlaps_most(
    found, labels, objects, object_labels, expected
):
    assert match(found, np.array(labels), objects, np.array(object_labels)) == expected


def test_disagreement_is_one_minus_f1():
    one = rows([0, 0, 0, 10, 10, 0.9, 0])
    two = rows([0, 0, 0, 10, 10, 0.4, 0], [0, 50, 50, 10, 10, 0.8, 0])
    assert disagreement(one, one) == 0
    assert disagreement(one, two) == pytest.approx(1 - 2 / 3)
    assert disagreement(rows(), rows()) == 0
    assert disagreement(one, rows()) == 1


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return open_dataset(make_data(tmp_path_factory.mktemp("data")), "val")


def test_images_on_which_arms_disagree_come_first(index):
    same = rows([1, 0, 0, 10, 10, 0.9, 0], [3, 0, 0, 10, 10, 0.9, 0], [5, 0, 0, 9, 9, 0.2, 0])
    other = rows([1, 0, 0, 10, 10, 0.9, 0], [3, 40, 0, 10, 10, 0.9, 0])
    assert most_different(index, [same, other], 0.5, count=2) == [3, 0]
    assert most_different(index, [same, other], 0.1, count=2) == [3, 5]


def test_one_arm_is_compared_with_the_labels(index):
    item = index.item(2)
    perfect = np.ones((len(item.label), 7))
    perfect[:, 0], perfect[:, 6] = 2, item.label
    perfect[:, 1:3] = item.xyxy[:, :2]
    perfect[:, 3:5] = item.xyxy[:, 2:] - item.xyxy[:, :2]
    assert most_different(index, [perfect], 0.5)[-1] == 2


def test_an_object_has_the_score_at_which_it_is_found(index):
    items = [index.item(position) for position in range(len(index))]
    alone, row = next(  # an object without another one of its class
        (position, row)
        for position, item in enumerate(items)
        for row, label in enumerate(item.label)
        if (item.label == label).sum() == 1
    )
    item = items[alone]
    x, y = item.xyxy[row, :2]
    w, h = item.xyxy[row, 2:] - item.xyxy[row, :2]
    label = item.label[row]
    table = rows([0, x, y, w, h, 0.3, label], [0, x, y, w, h, 0.7, label], [0, 0, 0, 2, 2, 0.6, 0])
    table[:, 0] = alone
    [picture] = pictures(index, {"mine": table}, [alone])
    objects = [box for box in picture.panels["mine"] if box.kind == "object"]
    found = {(box.kind, box.score) for box in picture.panels["mine"] if box.kind != "object"}
    assert found == {("hit", 0.7), ("false", 0.3), ("false", 0.6)}
    assert max(box.score for box in objects) == 0.7
    assert len(objects) == len(item.label)
    assert picture.jpeg.startswith("data:image/jpeg;base64,")


def test_an_image_that_is_gone_is_left_out(tmp_path):
    index = open_dataset(make_data(tmp_path), "val")
    index.path(0).unlink()
    assert [each.title for each in pictures(index, {}, [0, 1])] == [index.name(1)]
