from __future__ import annotations

import math

import pytest

from tutelage.display.formatting import clock, duration, loss, score


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0461, ".0461"),
        (0.0, ".0000"),
        (3.1e-6, "3.1e-06"),
        (1.5, "1.500"),
        (12.345, "12.3"),
        (100.0, "100.0"),
        (12345.0, "1.2e+04"),
        (-0.5, "-.5000"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_loss(value: float, text: str) -> None:
    assert loss(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.4123, ".412"), (1.0, "1.000"), (0.0, ".000"), (math.nan, "-")]
)
def test_score(value: float, text: str) -> None:
    assert score(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (12, "12 s"),
        (59.6, "1 min 00 s"),
        (2472, "41 min 12 s"),
        (11100, "3 h 05 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (521, "8:41"), (11105, "3:05:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
