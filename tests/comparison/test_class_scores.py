"""A mean that rises does not hide a class that is lost."""

import math

import numpy as np
import pytest

from tests.comparison.small_comparisons import plan
from tutelage.comparison.class_scores import class_lines, class_table
from tutelage.comparison.table import RunResult, compare_arms, markdown
from tutelage.evaluation.bootstrap import Values

VALUES: Values = np.array([0.2, 0.1, 0.3])


def result(shift: float, **per_class: float) -> RunResult:
    return RunResult(0.2 + shift, 0.4, VALUES + shift, None, per_class)


@pytest.fixture
def rows(tmp_path):
    arms = plan(("d.yaml", "t.pt"), tmp_path, seeds="2").arms
    nan = math.nan  # no object of it in the split
    results = {
        ("baseline", 0): result(0.0, red=0.5, white=0.1, plate=0.10, none=nan),
        ("baseline", 1): result(0.0, red=0.5, white=0.1, plate=0.12, none=nan),
        ("fgd-weight1", 0): result(0.2, red=0.8, white=0.4, plate=0.0, none=nan),
        ("fgd-weight1", 1): result(0.2, red=0.8, white=0.5, plate=0.0, none=nan),
    }
    return compare_arms(arms, results, None, images=9)


def test_differences_by_class_and_a_warning_of_the_dead_ones(rows):
    taught = rows[1]
    assert taught.class_deltas == pytest.approx({"red": 0.3, "white": 0.35, "plate": -0.11})
    assert (rows[0].dead, taught.dead) == ((), ("plate",))
    assert list(class_lines(rows)) == [
        "fgd-weight1, ΔAP by class: plate -11.0 · red +30.0 · white +35.0",
        "warning: fgd-weight1 does not find plate (the baseline has .110): AP 0.",
    ]


def test_the_table_of_the_report(rows):
    assert class_table(rows)[1:] == [
        ["red", ".500", "+30.0"],
        ["white", ".100", "+35.0"],
        ["plate", ".110", "-11.0"],
    ]
    assert "| plate | .110 | -11.0 |" in markdown(rows, {}, [])


def test_of_many_classes_those_that_lost_and_gained_most(rows):
    deltas = {f"c{n}": n / 100 for n in range(20)}
    line = next(class_lines([rows[0], rows[1]._replace(class_deltas=deltas, dead=())]))
    assert line.endswith("c0 +0.0 · c1 +1.0 · c2 +2.0 · c3 +3.0 · … · c16 +16.0 · c17 +17.0 · "
                         "c18 +18.0 · c19 +19.0")  # fmt: skip


def test_one_class_is_the_mean(rows):
    one = [row._replace(class_deltas={"red": 0.1}, dead=()) for row in rows]
    assert not list(class_lines(one))
