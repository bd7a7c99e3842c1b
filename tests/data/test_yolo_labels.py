from __future__ import annotations

import pytest

from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault, parse_labels


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        pytest.param("", [], id="empty file"),
        pytest.param("\n  \n", [], id="blank lines"),
        pytest.param("1 0.5 0.5 0.2 0.4\n", [(1, (0.4, 0.3, 0.6, 0.7))], id="box"),
        pytest.param("1.0 .5 .5 .2 .4", [(1, (0.4, 0.3, 0.6, 0.7))], id="class written as float"),
        pytest.param("0 .1 .2 .5 .3 .3 .6", [(0, (0.1, 0.2, 0.5, 0.6))], id="triangle"),
        pytest.param(
            "0 .5 .5 .2 .4\n2 .1 .1 .4 .1 .4 .3 .1 .3",
            [(0, (0.4, 0.3, 0.6, 0.7)), (2, (0.1, 0.1, 0.4, 0.3))],
            id="boxes and polygons mixed",
        ),
        pytest.param(
            "0 .1 .5 .2008 .5", [(0, (0, 0.25, 0.2004, 0.75))], id="less than a pixel over"
        ),
        pytest.param(
            "0 -.0004 .9 .4 .1 1.0004 .9", [(0, (0, 0.1, 1, 0.9))], id="rounding is forgiven"
        ),
    ],
)
def test_good_lines(text: str, boxes: list[tuple[int, tuple[float, ...]]]) -> None:
    rows, bad = parse_labels(text)
    assert not bad
    assert [row.label for row in rows] == [label for label, _ in boxes]
    for row, (_, xyxy) in zip(rows, boxes, strict=True):
        assert row.xyxy == pytest.approx(xyxy)


def test_control_characters_stay_out_of_messages() -> None:
    _, bad = parse_labels("0 .5 .5\n\x1b[31m0 \x07.5")
    assert [line.text for line in bad] == ["0 .5 .5", "?[31m0 ?.5"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("0 .5 .5 .2", LabelFault.SHAPE, id="four values"),
        pytest.param("0 .5 .5 .2 .2 .9", LabelFault.SCORE, id="score"),
        pytest.param("0 .5 .5 .2 .2 1.000000", LabelFault.SCORE, id="score of 1"),
        pytest.param("0 .5 .5 .2 .2 17", LabelFault.TRACK, id="track id"),
        pytest.param("0 .5 .5 .2 .2 1", LabelFault.TRACK, id="the first track"),
        pytest.param("0 .5 .5 .2 .2 .87 3", LabelFault.SCORE_AND_TRACK, id="score and track id"),
        pytest.param("0 .5 .5 .2 .2 -31.5", LabelFault.COLUMN, id="angle"),
        pytest.param("0 .93 .5 .4 .2 .3", LabelFault.COLUMN, id="score before the box"),
        pytest.param("0 312 205 96 88 .9", LabelFault.PIXELS, id="score after pixels"),
        pytest.param("0 .1 .1 .2 .2 .3 .3 .4", LabelFault.HALF_POINT, id="half a point, or score"),
        pytest.param("0 .1 .1 .2 .1 .2 .3 .1 .3 5", LabelFault.TRACK, id="track of a polygon"),
        pytest.param(
            "0 .1 .1 .2 .1 .2 .3 .1 .3 .8 5", LabelFault.SCORE_AND_TRACK, id="both, of a polygon"
        ),
        pytest.param("0,.5,.5,.2,.2", LabelFault.SHAPE, id="commas"),
        pytest.param("cat .5 .5 .2 .2", LabelFault.NUMBER, id="a name for a class"),
        pytest.param("0 .5 nan .2 .2", LabelFault.NUMBER, id="nan"),
        pytest.param("inf .5 .5 .2 .2", LabelFault.NUMBER, id="infinite class"),
        pytest.param("-1 .5 .5 .2 .2", LabelFault.CLASS, id="negative class"),
        pytest.param("0.5 .5 .5 .2 .2", LabelFault.CLASS, id="half a class"),
        pytest.param("0 1.2 .5 .2 .2", LabelFault.RANGE, id="beyond the image"),
        pytest.param("0 -.2 .5 .2 .2", LabelFault.RANGE, id="before the image"),
        pytest.param("0 312 205 96 88", LabelFault.PIXELS, id="pixels"),
        pytest.param("0 10 10 90 10 50 50", LabelFault.PIXELS, id="polygon in pixels"),
        pytest.param("0 .5 .5 0 .2", LabelFault.EMPTY, id="no width"),
        pytest.param("0 .1 .1 .4 .1 .3 .1", LabelFault.EMPTY, id="flat polygon"),
        pytest.param("0 1.1 .1 1.4 .1 1.3 .4", LabelFault.RANGE, id="polygon beside the image"),
        pytest.param("0 1.2 .9 .9 1.2 1.2 1.2", LabelFault.RANGE, id="polygon around the corner"),
        pytest.param("0 -3 .1 .4 .1 .3 .4", LabelFault.RANGE, id="polygon far outside"),
    ],
)
def test_bad_lines(line: str, fault: LabelFault) -> None:
    rows, bad = parse_labels(f"0 .5 .5 .5 .5\n{line}")
    assert len(rows) == 1
    assert [(entry.line, entry.fault, entry.text) for entry in bad] == [(2, fault, line)]


def test_duplicates_are_dropped_once_each() -> None:
    rows, bad = parse_labels("0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n0 .50 .5 .2 .2\n0 .5 .5 .2 .2")
    assert [(row.label, row.line) for row in rows] == [(0, 1), (1, 2)]
    assert [(entry.line, entry.fault) for entry in bad] == [
        (3, LabelFault.DUPLICATE),
        (4, LabelFault.DUPLICATE),
    ]


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        pytest.param("0 .1 .5 .4 .5", (0, 0.25, 0.3, 0.75), id="box"),
        pytest.param("0 .9 .5 1.1 .7 .9 .9 .7 .7", (0.7, 0.5, 1, 0.9), id="rotated box"),
        pytest.param("0 .4 .4 1.2 .8 .4 1.2", (0.4, 0.4, 1, 1), id="triangle"),
        pytest.param("0 1.2 -.2 1.1 -.3 .7 .1 .8 .2", (0.7, 0, 1, 0.2), id="through the corner"),
        pytest.param("0 -.5 .4 .5 -.2 1.5 .4 .5 1", (0, 0, 1, 1), id="on all sides"),
        pytest.param("0 .8 .4 1.3 .8 .8 .5", (0.8, 0.4, 1, 0.62), id="the part outside is deeper"),
    ],
)
def test_the_part_in_the_image_is_the_box(line: str, corners: tuple[float, ...]) -> None:
    (row,), bad = parse_labels(line, (100, 100))
    assert row.xyxy == pytest.approx(corners)
    assert bad == [BadLabelLine(1, LabelFault.CLIPPED, line)]


def test_what_counts_as_over_the_edge_is_a_pixel() -> None:
    assert parse_labels("0 .1 .5 .204 .5", (400, 400))[1] == []
    assert parse_labels("0 .1 .5 .204 .5", (4000, 4000))[1][0].fault == LabelFault.CLIPPED


def key_point_line(n: int, d: int, more: str = "") -> str:
    point = " .45 .55" + " 2" * (d == 3)
    return f"1 .5 .5 .2 .4{point * n}{more}"


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17])
def test_key_points(n: int, d: int) -> None:
    text = f"{key_point_line(n, d)}\n0 .5 .5 .2 .4\n"
    rows, bad = parse_labels(text, keypoints=(n, d))
    assert bad == []
    assert [row.label for row in rows] == [1, 0]
    for row in rows:
        assert row.xyxy == pytest.approx((0.4, 0.3, 0.6, 0.7))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (key_point_line(4, 3), LabelFault.SHAPE),
        ("0 .1 .1 .2 .1 .2 .3 .1 .3", LabelFault.SHAPE),
        (key_point_line(5, 3, " .87"), LabelFault.SCORE),
        (key_point_line(5, 3, " 7"), LabelFault.TRACK),
        (key_point_line(5, 3, " .87 7"), LabelFault.SCORE_AND_TRACK),
        ("0 .5 .5 .2 .2 .9", LabelFault.SCORE),
        (key_point_line(5, 3).replace(".5 .5", "50 50"), LabelFault.PIXELS),
        (key_point_line(5, 3).replace(" 2", " x"), LabelFault.NUMBER),
    ],
)
def test_other_lines_among_key_points(line: str, fault: LabelFault) -> None:
    rows, bad = parse_labels(line, keypoints=(5, 3))
    assert (rows, [one.fault for one in bad]) == ([], [fault])
