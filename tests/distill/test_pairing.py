from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.distill.fake_networks import FakeDetector
from tutelage.distill import Pairs, pair
from tutelage.errors import ConfigError
from tutelage.models.build import load
from tutelage.structures import Tap

STUDENT = FakeDetector(
    "small",
    {"0": (8, 8), "1": (16, 16), "2": (32, 32), "3": (16, 16), "4": (8, 8)},
    {"p3": "4", "p4": "3", "p5": "2"},
)
TEACHER = FakeDetector(
    "large",
    {str(key): (10 * key + 10, stride) for key, stride in enumerate((4, 8, 16, 16, 32, 64, 8, 16))},
    {"p3": "6", "p4": "7", "p5": "4", "p6": "5"},
)


class Foreign(NamedTuple):
    taps: tuple[Tap, ...]


def keys(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [tap.key for tap in pairs.student], [tap.key for tap in pairs.teacher]


def told(**options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        pair(STUDENT, TEACHER, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_without_lists_common_levels_are_paired() -> None:
    pairs = pair(STUDENT, TEACHER)
    assert keys(pairs) == (["4", "3", "2"], ["6", "7", "4"])
    assert pairs.channels == [(8, 70), (16, 80), (32, 50)]


def test_an_empty_list_is_none() -> None:
    assert pair(STUDENT, TEACHER, student_layers=[], teacher_layers=()) == pair(STUDENT, TEACHER)


def test_one_list_meets_the_levels_of_equal_stride() -> None:
    assert keys(pair(STUDENT, TEACHER, student_layers=["1", "0"])) == (["1", "0"], ["7", "6"])
    assert keys(pair(STUDENT, TEACHER, teacher_layers=[4, 2])) == (["2", "3"], ["4", "2"])


def test_two_lists_are_paired_in_order_and_may_name_levels() -> None:
    pairs = pair(STUDENT, TEACHER, student_layers=["p4", 0], teacher_layers=[3, "p3"])
    assert keys(pairs) == (["3", "0"], ["3", "6"])


def test_resize_allows_unequal_strides() -> None:
    pairs = pair(STUDENT, TEACHER, student_layers=["0"], teacher_layers=["2"], resize=True)
    assert [(s.stride, t.stride) for s, t in zip(*pairs, strict=True)] == [(8, 16)]


def test_a_foreign_network_is_paired_by_stride() -> None:
    foreign = Foreign((Tap("f0", 256, 8), Tap("f1", 256, 16), Tap("f2", 256, 128)))
    assert keys(pair(STUDENT, foreign)) == (["4", "3"], ["f0", "f1"])
    assert keys(pair(STUDENT, foreign, student_layers=[1])) == (["1"], ["f1"])
    with pytest.raises(ConfigError, match="the teacher has layers f0, f1, f2, not p9"):
        pair(STUDENT, foreign, teacher_layers=["p9"])


def test_unknown_layers() -> None:
    message = told(
        student_layers=["0", "7", 12], origins={"distill.student_kd_layers": "hyp.yaml:3"}
    )
    assert message == (
        "student_kd_layers: small has layers 0…4 before its head, not 7, 12 (from hyp.yaml:3) "
        "p3 p4 p5 of small are 4, 3, 2."
    )


def test_swapped_lists_are_recognised() -> None:
    message = told(student_layers=[6, 7], teacher_layers=[4, 3])
    assert (
        "student_kd_layers: small has layers 0…4 before its head, not 6, 7 Did you swap" in message
    )
    assert "Did you swap student and teacher?" not in told(student_layers=[6, 99])


def test_the_head_has_no_features() -> None:
    assert "student_kd_layers: 5 is the head of small, it has no features" in told(
        student_layers=[5]
    )


def test_repeated_layers() -> None:
    assert "teacher_kd_layers: 1 is given twice" in told(
        student_layers=[0, 4], teacher_layers=[1, 1]
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param(
            [4, 3, 2],
            [6, 7],
            "3 student layers but 2 teacher layers; they are paired in order "
            "Missing a partner: 2 (p5, stride 32). The teacher has stride 32 at 4.",
            id="the last is missing",
        ),
        pytest.param(
            [4, 3, 2],
            [7, 4],
            "3 student layers but 2 teacher layers; they are paired in order "
            "Missing a partner: 4 (p3, stride 8). The teacher has stride 8 at 6.",
            id="the first is missing",
        ),
        pytest.param(
            [3],
            [7, 5],
            "1 student layer but 2 teacher layers; they are paired in order "
            "Missing a partner: 5 (p6, stride 64).",
            id="no layer of that stride",
        ),
    ],
)
def test_unequal_counts(ours: list[int], theirs: list[int], expected: str) -> None:
    assert told(student_layers=ours, teacher_layers=theirs) == expected


def test_unequal_strides() -> None:
    assert told(student_layers=[4, 3], teacher_layers=[6, 1]) == (
        "Pair 2 does not align: student 3 has stride 16, teacher 1 has stride 8 "
        "Teacher layers of stride 16: 7 (p4), 2, 3. "
        "Or allow resampling: --set distill.resize=true"
    )


def test_no_level_of_that_stride() -> None:
    assert told(teacher_layers=[0, 6]) == (
        "teacher_kd_layers: 0 has stride 4, and the student has no pyramid level of that stride "
        "p3 p4 p5 of small are 4, 3, 2."
    )


def test_no_common_level() -> None:
    with pytest.raises(ConfigError, match="no pyramid level in common"):
        pair(STUDENT, Foreign((Tap("f", 1, 128),)))


def test_all_faults_are_told_at_once() -> None:
    message = told(student_layers=[4, 1, 99, 3], teacher_layers=[6, 6, 42])
    assert message.startswith("5 settings cannot be used:")
    for part in (
        "small has layers 0…4 before its head, not 99",
        "large has layers 0…7 before its head, not 42",
        "6 is given twice",
        "4 student layers but 3 teacher layers",
        "Pair 2 does not align: student 1 has stride 16, teacher 6 has stride 8",
    ):
        assert part in message


def test_real_networks() -> None:
    student, teacher = load("yolov7-tiny"), load("yolov7")
    pairs = pair(student, teacher)
    assert keys(pairs) == (["57", "65", "73"], ["75", "88", "101"])
    assert pairs.channels == [(64, 128), (128, 256), (256, 512)]
    assert pair(student, teacher, student_layers=[57, 65, 73]) == pairs
    with pytest.raises(ConfigError) as caught:
        pair(student, teacher, student_layers=[57, 65, 101], teacher_layers=[75, 88, 101])
    assert "yolov7-tiny has layers 0…76 before its head, not 101" in str(caught.value)
    assert "p3 p4 p5 of yolov7-tiny are 57, 65, 73." in str(caught.value)


def test_levels_of_unequal_stride_are_not_paired() -> None:
    foreign = Foreign((Tap("p3", 256, 8), Tap("p5", 256, 24)))  # 24 is nearest to 32
    assert keys(pair(STUDENT, foreign)) == (["4"], ["p3"])
    assert keys(pair(STUDENT, foreign, resize=True)) == (["4", "2"], ["p3", "p5"])


class TestZoom:
    """The teacher sees the images at another size than the student."""

    def test_at_twice_the_size_levels_are_paired_one_up(self) -> None:
        pairs = pair(STUDENT, TEACHER, zoom=2)
        assert keys(pairs) == (["4", "3", "2"], ["7", "4", "5"])
        assert [tap.stride for tap in pairs.teacher] == [16, 32, 64]  # as the teacher has them

    def test_one_list_meets_the_levels_one_up_or_down(self) -> None:
        assert keys(pair(STUDENT, TEACHER, student_layers=["1"], zoom=2)) == (["1"], ["4"])
        assert keys(pair(STUDENT, TEACHER, teacher_layers=["p4", 5], zoom=2)) == (
            ["4", "2"],
            ["7", "5"],
        )

    def test_two_lists_must_have_the_same_cells(self) -> None:
        pairs = pair(STUDENT, TEACHER, student_layers=["p3"], teacher_layers=["2"], zoom=2)
        assert keys(pairs) == (["4"], ["2"])
        with pytest.raises(ConfigError) as caught:
            pair(STUDENT, TEACHER, student_layers=["p3"], teacher_layers=["p3"], zoom=2)
        assert caught.value.code == "T08"
        assert str(caught.value) == (
            "Pair 1 does not align: student 4 has stride 8, teacher 6 has stride 8: on images 2 × "
            "as large, the teacher's stride is 4 of the student's pixels "
            "Teacher layers of stride 16: 7 (p4), 3, 2. "
            "Or allow resampling: --set distill.resize=true"
        )

    def test_without_a_partner(self) -> None:
        message = told(teacher_layers=["p3"], zoom=2)
        assert message.startswith(
            "teacher_kd_layers: 6 has stride 8, and the student has no pyramid level of that "
            "stride: on images 2 × as large, the teacher's strides are 4, 8, 16, 32 "
            "of the student's pixels"
        )
        message = told(student_layers=["p3", "p4"], teacher_layers=["p4"], zoom=2)
        assert "Missing a partner: 3 (p4, stride 16). The teacher has stride 32 at 4." in message

    def test_one_and_a_half_times_the_size_needs_resizing(self) -> None:
        assert told(zoom=1.5) == (
            "student and teacher have no pyramid level in common: on images 1.5 × as large, the "
            "teacher's strides are 5.33, 10.7, 21.3, 42.7 of the student's pixels "
            "p3 p4 p5 of small are 4, 3, 2. p3 p4 p5 p6 of large are 6, 7, 4, 5. "
            "Allow resampling: --set distill.resize=true"
        )
        for lists in ({"student_layers": ["p3"]}, {"teacher_layers": ["p4"]}):
            assert "Or allow resampling: --set distill.resize=true" in told(zoom=1.5, **lists)
        both = told(student_layers=["p3"], teacher_layers=["p4"], zoom=1.5)
        assert "Allow resampling: --set distill.resize=true" in both

    def test_resized_levels_are_paired_with_the_nearest(self) -> None:
        pairs = pair(STUDENT, TEACHER, zoom=1.5, resize=True)
        assert keys(pairs) == (["4", "3", "2"], ["7", "4", "5"])
        assert pair(STUDENT, TEACHER, zoom=2, resize=True) == pair(STUDENT, TEACHER, zoom=2)
        one = pair(STUDENT, TEACHER, student_layers=["1"], zoom=1.5, resize=True)
        assert keys(one) == (["1"], ["4"])
        other = pair(STUDENT, TEACHER, teacher_layers=["p4"], zoom=1.5, resize=True)
        assert keys(other) == (["4"], ["7"])

    def test_a_level_too_few_is_left_out(self) -> None:
        foreign = Foreign((Tap("p3", 256, 8), Tap("p4", 256, 16), Tap("p5", 256, 32)))
        assert keys(pair(STUDENT, foreign, zoom=2)) == (["4", "3"], ["p4", "p5"])
