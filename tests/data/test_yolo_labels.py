from __future__ import annotations

import pytest

from tutelage.data.formats.yolo_labels import LabelFault, parse_labels


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
        pytest.param("0 0.1 0.5 0.4 0.5", [(0, (0.0, 0.25, 0.3, 0.75))], id="clipped to the image"),
        pytest.param(
            "0 1.0004 0.5 0.2 0.2", [(0, (0.9004, 0.4, 1.0, 0.6))], id="rounding is forgiven"
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
        pytest.param("0 .5 .5 .2 .2 .9", LabelFault.SHAPE, id="a confidence too many"),
        pytest.param("0 .1 .1 .2 .2 .3 .3 .4", LabelFault.SHAPE, id="half a point"),
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
