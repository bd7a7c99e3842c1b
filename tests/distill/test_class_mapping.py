"""Classes of two networks meet by name or by an explicit map, never by position."""

from __future__ import annotations

from typing import Literal

import pytest

from tutelage.distill import class_mismatch, shared_columns
from tutelage.errors import ConfigError


def test_equal_lists_need_no_map() -> None:
    for setting in ("equal", "by-name"):
        assert shared_columns(setting, ["a", "b"], ["a", "b"]) is None


def test_lists_that_should_be_equal_and_are_not_share_nothing() -> None:
    assert shared_columns("equal", ["a", "b"], ["b", "c"]) == ((), ())
    assert shared_columns("equal", ["a", "b"], ["a", "b", "c"]) == ((), ())


@pytest.mark.parametrize("setting", ["equal", "by-name"])
def test_the_same_names_in_another_order(setting: Literal["equal", "by-name"]) -> None:
    assert shared_columns(setting, ["a", "b"], ["b", "a"]) == ((0, 1), (1, 0))
    assert shared_columns(setting, ["1", "2", "0"], ["0", "1", "2"]) == ((0, 1, 2), (1, 2, 0))


def test_a_teacher_that_only_counts_its_classes_has_them_in_the_order_of_the_data() -> None:
    assert shared_columns("equal", ["a", "b"], ["0", "1"]) is None
    assert shared_columns("equal", ["a", "b"], ["0", "1", "2"]) == ((), ())


def test_by_name_whatever_the_position() -> None:
    assert shared_columns("by-name", ["cat", "dog"], ["dog", "cow", "cat"]) == ((0, 1), (2, 0))
    assert shared_columns("by-name", ["cat", "dog"], ["cow", "dog"]) == ((1,), (1,))
    assert shared_columns("by-name", ["cat"], ["cow"]) == ((), ())


def test_by_a_map_of_names() -> None:
    columns = shared_columns({"RBC": "red cell"}, ["WBC", "RBC"], ["red cell", "WBC"])
    assert columns == ((1,), (0,))


@pytest.mark.parametrize(
    ("given", "message", "fix"),
    [
        ({"RCB": "red cell"}, "the student has no class 'RCB'", "Did you mean 'RBC'?"),
        ({"RBC": "red"}, "the teacher has no class 'red'", "It knows: red cell, WBC"),
    ],
)
def test_a_map_of_classes_that_do_not_exist(given: dict[str, str], message: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        shared_columns(given, ["WBC", "RBC"], ["red cell", "WBC"])
    assert fix in caught.value.fix


def test_the_refusal_shows_the_ways_out() -> None:
    error = class_mismatch("logits", ["a", "b"], ["b", "c", "d"])
    assert error.what == (
        "Method 'logits' compares class scores, but the teacher knows 3 classes "
        "and the data 2; in common by name: b"
    )
    assert "distill.classes=by-name" in error.fix
    assert "by-name" not in class_mismatch("logits", ["a"], ["b"]).fix


def test_a_teacher_that_names_no_classes_shares_features_only() -> None:
    error = class_mismatch("bckd", ("a", "b"), ())
    assert "'bckd' compares class scores, but the teacher shares features only" in str(error)
    assert "feature method (fgd)" in error.fix
