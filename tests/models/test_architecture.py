"""Reading a graph yaml: what is understood, and how faults are told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.models.graphs import MENAGERIE, changed, with_row
from tutelage.errors import ConfigError
from tutelage.models import build
from tutelage.models.architecture import parse_argument, read_architecture
from tutelage.models.blocks.activation import SiLU, parse_activation


def read(arch: dict[str, Any], classes: int = 2) -> Any:
    return read_architecture(arch, name="mine", classes=classes)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (3, 3),
        (0.5, 0.5),
        (True, True),
        (None, None),
        ("nc", 7),
        ("None", None),
        ("'nearest'", "nearest"),
        ("nearest", "nearest"),
        ("anchors", "anchors"),
        ("12", 12),
        ("-1", -1),
        ("1e-3", 0.001),
        ("False", False),
        ([5, "9", "nc"], [5, 9, 7]),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
    ],
)
def test_arguments(written: Any, meant: Any) -> None:
    found = parse_argument(written, 7)
    assert found == meant
    assert type(found) is type(meant)


def test_activations() -> None:
    leaky = parse_activation("nn.LeakyReLU(0.1)")()
    assert isinstance(leaky, nn.LeakyReLU)
    assert leaky.negative_slope == 0.1
    named = parse_activation("nn.LeakyReLU(negative_slope=0.3, inplace=True)")()
    assert isinstance(named, nn.LeakyReLU)
    assert named.negative_slope == 0.3
    assert isinstance(parse_activation("nn.SiLU()")(), SiLU)
    assert isinstance(parse_argument("nn.ReLU()", 1)(), nn.ReLU)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nn.LeakyRelu(0.1)", "Did you mean 'LeakyReLU'?"),
        ("nn.Linear(3)", "unknown activation 'nn.Linear'"),
        ("nn.LeakyReLU(a)", "is not a number"),
        ("nn.LeakyReLU(0.1; 2)", "cannot read"),
        ("nn.ReLU(0.1, 0.2, 0.3)", "does not take"),
        ("silu", "is not an activation"),
    ],
)
def test_activations_that_are_not(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_activation(text)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (with_row(MENAGERIE, "backbone", 5, [-1, 1, "RepCnov", [48]]),
         r"row 5 \[-1, 1, RepCnov, \[48\]\]: unknown module 'RepCnov'. Did you mean 'RepConv'"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 1, "Zzz", [48]]), "Known: Conv, DWConv"),
        (with_row(MENAGERIE, "backbone", 5, [5, 1, "Conv", [48]]),
         "from 5 does not point to an earlier row"),
        (with_row(MENAGERIE, "backbone", 5, [-7, 1, "Conv", [48]]), "from -7 points before row 0"),
        (with_row(MENAGERIE, "backbone", 5, ["4", 1, "Conv", [48]]), "from must be integers"),
        (with_row(MENAGERIE, "backbone", 5, [[], 1, "Conv", [48]]), "from is empty"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 1, "Conv"]), "a row has four parts"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 0, "Conv", [48]]), "number must be a positive"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 10**9, "Conv", [48]]), "integer up to 1000"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 1, "Conv", 48]), "args must be a list"),
        (with_row(MENAGERIE, "backbone", 5, [-1, 1, "Detect", ["nc", "anchors"]]),
         "Detect must be the last row"),
        (with_row(MENAGERIE, "head", -1, [[17, 22, 17], 1, "IAuxDetect", ["nc", "anchors"]]),
         "IAuxDetect reads as many auxiliary rows as lead rows, got 3"),
        (with_row(MENAGERIE, "head", -1, [[17, 22], 1, "IBin", ["nc", "anchors"]]),
         "only boxes by regression are supported"),
        (with_row(MENAGERIE, "head", -1, [[17, 22], 1, "Detect", [80, "anchors"]]),
         r"the arguments of a head are \[nc, anchors\]"),
        (with_row(MENAGERIE, "head", -1, [-1, 1, "Conv", [8]]), "the last row must be a head"),
        (with_row(MENAGERIE, "head", -1, [[17, 22, 21], 1, "Detect", ["nc", "anchors"]]),
         "2 levels of anchors, but the head has 3 levels"),
        (changed(MENAGERIE, anchors=[[1, 2, 3], [1, 2, 3, 4]]), "must be pairs of numbers"),
        (changed(MENAGERIE, anchors=[[1, 2], [1, 2, 3, 4]]), "same number of anchors"),
        (changed(MENAGERIE, anchors="many"), "anchors must be lists"),
        (changed(MENAGERIE, anchors=10**9), "or a count per level up to 100"),
        (changed(MENAGERIE, depth_multiple=1e9), "depth_multiple must be a positive number up to"),
        (changed(MENAGERIE, width_multiple=0), "must be a positive number up to 100, got 0"),
        (changed(MENAGERIE, depth_multiple="1"), "depth_multiple must be a positive number"),
        (changed(MENAGERIE, ch=0), "ch must be 3, or 1 for grey"),
        (changed(MENAGERIE, activation="nn.Foo()"), "activation: unknown activation 'nn.Foo'"),
        (changed(MENAGERIE, widht_multiple=1), "unknown key 'widht_multiple'. Did you mean"),
        (changed(MENAGERIE, family="yolov8"), "family must be one of yolov7, yolov5, .* 'yolov8'"),
        (changed(MENAGERIE, levels={"p3": 99}), "levels: p3 must be a row before the head"),
        (changed(MENAGERIE, levels=[1, 2]), "levels must be a mapping"),
        (changed(MENAGERIE, head=None), "'head' must be a list of rows"),
    ],
)  # fmt: skip
def test_faults(arch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(arch)


def test_all_faults_are_told_at_once() -> None:
    arch = with_row(MENAGERIE, "backbone", 0, [-1, 1, "Fokus", [32]])
    arch["head"][0] = [-1, 1, "Kconcat", [1]]
    arch["width_multiple"] = -1
    with pytest.raises(ConfigError) as caught:
        read(arch, classes=0)
    for part in ("nc must be", "width_multiple", "row 0", "'Fokus'", "row 14", "'Kconcat'"):
        assert part in caught.value.what


@pytest.mark.parametrize(
    ("place", "row", "message"),
    [
        (2, [[-1, 0], 1, "Conv", [32]], "row 2 .* takes one input, got 2"),
        (2, [-1, 1, "Conv", []], "row 2 .* needs its output channels"),
        (2, [-1, 1, "Conv", ["wide"]], "row 2 .* needs its output channels"),
        (2, [-1, 1, "Conv", [32, 3, 0]], "row 2 .* by zero"),
        (2, [-1, 1, "Conv", [32, 1, 1, 0, 1, 1, 1, 1]], "row 2 .* too many arguments"),
        (2, [-1, 1, "C3", [32, False, 1, 0.5, 9, 9]], "row 2 .* arguments but 9"),
        (2, [[-1, 0], 1, "Concat", [1]], "row 2 .*cannot be joined"),
        (2, [[-1, -1], 1, "Concat", [0]], "row 2 .* joins along channels"),
        (2, [[-1, 0], 1, "Shortcut", [1]], "row 2 .*broadcast"),
        (2, [-1, 1, "RepConv", [32, 5]], "row 2 .* needs kernel 3"),
        (2, [-1, 1, "SPP", [32, [4, 6]]], "row 2 .* must be odd"),
        (2, [-1, 1, "SPP", [32, [9, 5]]], "row 2 .* must grow"),
        (2, [-1, 1, "MP", [512]], "row 2 .* size is too small"),
    ],
)
def test_rows_that_cannot_be_built_are_named(place: int, row: Any, message: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build(with_row(MENAGERIE, "backbone", place, row), ["a", "b"])


def test_depth_and_width_are_scaled_as_published() -> None:
    arch = read(changed(MENAGERIE, depth_multiple=0.33, width_multiple=0.3))
    assert arch.scale(64) == 24  # 19.2, up to a multiple of 8
    assert arch.scale(14) == 14  # 2 anchors * (5 + 2 classes): an output count is kept
    assert [row.count for row in arch.rows if row.block in ("Bottleneck", "C3")] == [1, 1]
    five = with_row(MENAGERIE, "backbone", 2, [-1, 5, "Bottleneck", [32]])
    assert read(changed(five, depth_multiple=0.5)).rows[2].count == 2  # 2.5, half to even


def test_an_anchor_count_gives_placeholders() -> None:
    arch = read(changed(MENAGERIE, anchors=4))
    assert [len(level) for level in arch.head_options["anchors"]] == [4, 4]
    with torch.device("meta"):
        assert build(changed(MENAGERIE, anchors=4), ["a", "b"]).head.anchor_sizes.shape == (2, 4, 2)


def test_family_and_levels_of_a_yaml() -> None:
    with torch.device("meta"):
        plain = build(MENAGERIE, ["a", "b"])
        told = build(changed(MENAGERIE, family="yolov5", levels={"p3": 9, "deep": 13}), ["a", "b"])
    assert (plain.family, plain.levels) == ("yolov7", {"p3": "17", "p4": "22"})
    assert (told.family, told.levels) == ("yolov5", {"p3": "9", "deep": "13"})
    assert plain.head.anchor_grid is not None
    assert told.head.anchor_grid is None
    assert told.tap(["deep"])[0].key == "13"


@pytest.mark.parametrize("block", ["Conv", "RepConv"])
def test_the_tap_is_before_a_layer_that_only_widens_for_the_head(block: str) -> None:
    wide = [-1, 1, block, [64, 3, 1]]
    last = with_row(MENAGERIE, "head", 8, wide)  # row 22 feeds the head alone
    both = with_row(last, "head", 3, wide)  # row 17 feeds row 18 too
    thin = with_row(MENAGERIE, "head", 8, [-1, 1, "Conv", [64, 1, 1]])
    with torch.device("meta"):
        assert build(last, ["a", "b"]).levels == {"p3": "17", "p4": "21"}
        assert build(both, ["a", "b"]).levels == {"p3": "17", "p4": "21"}
        assert build(thin, ["a", "b"]).levels == {"p3": "17", "p4": "22"}
