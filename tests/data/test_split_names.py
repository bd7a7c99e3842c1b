from __future__ import annotations

import pytest

from tutelage.data.formats.split_names import split_in, split_of, without_split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Train", "train"),
        ("TRAINING", "train"),
        ("train2017", "train"),
        ("Validation", "val"),
        ("Valid", "val"),
        ("val_2017", "val"),
        ("dev", "val"),
        ("test-dev2017", "test"),
        ("Testing", "test"),
        ("trainval", None),
        ("trains", None),
        ("validated", None),
        ("2017", None),
    ],
)
def test_a_name_as_a_whole(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_Train2017.json", "train"),
        ("lvis_v1_val.json", "val"),
        ("Validation_annotations.json", "val"),
        ("train_val.json", None),
        ("instances_trainval.json", None),
        ("portrait.json", None),
    ],
)
def test_a_word_within_a_name(name: str, split: str | None) -> None:
    assert split_in(name) == split


def test_the_same_name_of_other_splits() -> None:
    assert without_split("instances_Train2017.json") == without_split("instances_val2017.json")
    assert without_split("instances_train.json") != without_split("keypoints_val.json")
