"""Counting parameters and operations, and listing layers."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.graphs import MENAGERIE, changed
from tutelage.models import build, cost, describe


def test_operations_of_one_convolution() -> None:
    detector = build("yolov7-tiny@0.25", ["a"])
    first = detector.model[0].conv.weight.numel() * 2 * 80 * 48 / 1e9  # 160 x 96, halved
    rows = detector.eval()(torch.zeros(1, 3, 160, 96), profile=True)[1]
    assert rows[0].gflops == pytest.approx(first)
    assert cost(detector, (160, 96)).gflops == pytest.approx(sum(row.gflops for row in rows))
    assert cost(detector, (160, 96)).gflops < cost(detector, 160).gflops


def test_counting_changes_nothing() -> None:
    detector = build("yolov7@0.125", ["a"]).half()
    before = copy.deepcopy(detector.state_dict())
    state = torch.get_rng_state()
    assert cost(detector).parameters == sum(p.numel() for p in detector.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in detector.state_dict().items())
    assert detector.training


def test_grey_images() -> None:
    with torch.device("meta"):
        grey, coloured = (build(changed(MENAGERIE, ch=ch), ["a", "b"]) for ch in (1, 3))
    focus = 16 * 4 * 3**2 * 2  # weights of the first convolution: 2 channels of 4 pixels each
    assert cost(coloured, 64).parameters - cost(grey, 64).parameters == focus
    assert cost(coloured, 64).gflops - cost(grey, 64).gflops == pytest.approx(
        2 * focus * 32**2 / 1e9
    )


def test_a_listing() -> None:
    with torch.device("meta"):
        rows = describe(build("yolov5n", ["a"]), (320, 640))
    assert [row.index for row in rows] == list(range(25))
    assert rows[4].block == "C3 x2"
    assert rows[0].sources == ("image",)
    assert rows[16].sources == ("15", "4")
    assert (rows[17].channels, rows[17].stride, rows[17].size) == (64, 8, (40, 80))
    assert {row.index: row.level for row in rows if row.level} == {17: "p3", 20: "p4", 23: "p5"}
    assert (rows[24].block, rows[24].size) == ("Detect", (0, 0))
