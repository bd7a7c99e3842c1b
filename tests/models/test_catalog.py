"""Sizes, names and widths of the architectures that come with the package."""

from __future__ import annotations

import pytest
import torch

from tests.models.graphs import MENAGERIE, changed
from tutelage.errors import ConfigError
from tutelage.models import ARCHITECTURES, build, cost
from tutelage.models.catalog import describe_width, is_named, named, recognise, stored_name, suggest

COCO = [str(i) for i in range(80)]

# name: parameters, parameters folded, GFLOPs folded, tensors in the state, default taps, lead rows
SIZES = {
    "yolov7-tiny": (6_228_762, 6_219_709, 13.7, 344, "57 65 73", "74 75 76"),
    "yolov7-tiny-silu": (6_228_762, 6_219_709, 13.7, 344, "57 65 73", "74 75 76"),
    "yolov7": (37_622_682, 36_905_341, 104.5, 566, "75 88 101", "102 103 104"),
    "yolov7x": (71_347_394, 71_311_741, 189.7, 644, "87 102 117", "118 119 120"),
    "yolov7-w6": (
        *(82_312_436, 70_394_300, 89.9, 668),
        *("83 93 103 113", "114 115 116 117"),
    ),
    "yolov7-e6": (
        *(111_898_292, 97_202_940, 128.6, 896),
        *("99 111 123 135", "136 137 138 139"),
    ),
    "yolov7-d6": (
        *(154_709_364, 133_757_052, 175.4, 1028),
        *("115 129 143 157", "158 159 160 161"),
    ),
    "yolov7-e6e": (
        *(166_408_884, 151_687_420, 210.5, 1490),
        *("187 210 233 256", "257 258 259 260"),
    ),
    "yolov5n": (1_872_157, 1_867_405, 4.5, 349, "17 20 23", "17 20 23"),
    "yolov5s": (7_235_389, 7_225_885, 16.4, 349, "17 20 23", "17 20 23"),
    "yolov5m": (21_190_557, 21_172_173, 48.9, 481, "17 20 23", "17 20 23"),
    "yolov5l": (46_563_709, 46_533_693, 109.0, 613, "17 20 23", "17 20 23"),
    "yolov5x": (86_749_405, 86_705_005, 205.5, 745, "17 20 23", "17 20 23"),
    "yolov5n6": (3_246_940, 3_239_884, 4.6, 459, "23 26 29 32", "23 26 29 32"),
    "yolov5s6": (12_626_620, 12_612_508, 16.8, 459, "23 26 29 32", "23 26 29 32"),
    "yolov5m6": (35_731_932, 35_704_908, 49.9, 627, "23 26 29 32", "23 26 29 32"),
    "yolov5l6": (76_770_172, 76_726_332, 111.2, 795, "23 26 29 32", "23 26 29 32"),
    "yolov5x6": (140_794_780, 140_730_220, 209.6, 963, "23 26 29 32", "23 26 29 32"),
}
# of those with auxiliary levels: parameters of the deploy yaml, auxiliary rows, what these read
AUXILIARY = {
    "yolov7-w6": (70_426_236, "118 119 120 121", "83 71 59 47"),
    "yolov7-e6": (97_246_652, "140 141 142 143", "99 85 71 57"),
    "yolov7-d6": (133_810_044, "162 163 164 165", "115 99 83 67"),
    "yolov7-e6e": (151_757_244, "261 262 263 264", "186 161 136 112"),
}


def test_the_table_covers_every_anchor_based_architecture() -> None:
    """Those without anchors have tests of their own: test_yolov9.py, test_yolox.py."""
    assert list(SIZES) == [name for name in ARCHITECTURES if name[:6] in ("yolov7", "yolov5")]


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str) -> None:
    parameters, folded, gflops, tensors, taps, lead = SIZES[name]
    with torch.device("meta"):
        detector = build(name, COCO)
    assert sum(p.numel() for p in detector.parameters()) == parameters
    assert len(detector.state_dict()) == tensors
    assert detector.levels == dict(zip(("p3", "p4", "p5", "p6"), taps.split(), strict=False))
    assert detector.strides == (8, 16, 32, 64)[: len(taps.split())]
    auxiliary = AUXILIARY.get(name, (0, "", ""))[1].split()
    assert list(detector.layers[-1].sources) == lead.split() + auxiliary
    assert sorted(detector.auxiliary) == [int(row) for row in auxiliary]
    assert detector.family == name[:6]
    assert detector.arch_name == name
    deploy = cost(detector.fused())
    assert deploy.parameters == folded
    assert deploy.gflops == pytest.approx(gflops, abs=0.06)


@pytest.mark.parametrize("name", AUXILIARY)
def test_the_deploy_yaml_of_a_graph_with_auxiliary_levels(name: str) -> None:
    parameters, rows, sources = AUXILIARY[name]
    graph = named(name)
    head = graph["head"]
    assert [row[0] for row in head[-5:-1]] == [int(source) for source in sources.split()]
    graph["head"] = [*head[:-5], [head[-1][0][:4], 1, "Detect", ["nc", "anchors"]]]
    with torch.device("meta"):
        detector = build(graph, COCO)
    assert sum(p.numel() for p in detector.parameters()) == parameters
    assert detector.layers[-1].key == rows.split()[0]
    assert detector.arch_name == name
    assert detector.family == "yolov7"


def test_width_in_the_name() -> None:
    with torch.device("meta"):
        narrow = build("yolov7-tiny@0.25", ["a"])
        same = build({**named("yolov7-tiny"), "width_multiple": 0.25}, ["a"])
    assert [layer.channels for layer in narrow.layers[:3]] == [8, 16, 8]
    assert narrow.layers == same.layers
    assert narrow.arch_name == same.arch_name == "yolov7-tiny@0.25"
    assert narrow.arch["width_multiple"] == 0.25


@pytest.mark.parametrize(
    ("name", "width", "alike"),
    [
        ("yolov5n@0.5", 0.125, "yolov5n@0.5"),
        ("yolov5s@0.5", 0.25, "yolov5n"),
        ("yolov5s@0.25", 0.125, "yolov5n@0.5"),  # the shorter of two names of one graph
        ("yolov5n@2", 0.5, "yolov5s"),
        ("yolov5m@0.666666666667", 0.5, "yolov5m@0.666666666667"),
        ("yolov5x6@0.1", 0.125, "yolov5x6@0.1"),
        ("yolov7-tiny@0.3", 0.3, "yolov7-tiny@0.3"),
    ],
)
def test_the_number_after_at_is_a_share_of_the_named_width(
    name: str, width: float, alike: str
) -> None:
    mapping = named(name)
    assert mapping["width_multiple"] == width
    assert recognise(mapping) == alike
    assert named(alike)["width_multiple"] == width


def test_a_share_of_yolov5_has_its_share_of_the_channels() -> None:
    with torch.device("meta"):
        whole, half = build("yolov5n", ["a"]), build("yolov5n@0.5", ["a"])
    assert [layer.channels for layer in whole.layers[:3]] == [16, 32, 32]
    assert [layer.channels for layer in half.layers[:3]] == [8, 16, 16]
    assert describe_width("yolov5n@0.5") == "width 0.125 = 0.5 × 0.25"
    assert [describe_width(name) for name in ("yolov5n", "yolov7-tiny@0.25", "m.yaml")] == [""] * 3


def test_the_names_in_old_files_follow_the_width_that_they_hold() -> None:
    arch = {**named("yolov5n"), "width_multiple": 0.5}  # yolov5n@0.5 in version 0.1.0
    assert stored_name("yolov5n@0.5", arch) == "yolov5s"
    assert stored_name("yolov5s@0.5", {**arch, "width_multiple": 0.25}) == "yolov5s@0.5"
    assert stored_name("yolov5m@0.5", {**named("yolov5m"), "width_multiple": 0.5}) == (
        "yolov5m@0.666666666667"
    )
    for name in ("yolov7-tiny@0.25", "mine@2", "yolov5n@x", "custom"):
        assert stored_name(name, named("yolov7-tiny@0.25")) == name
    assert stored_name("yolov5n@0.5", {}) == "yolov5n@0.5"


@pytest.mark.parametrize("width", ["", "abc", "0", "-1", "nan", "inf", "100"])
def test_nonsense_widths_are_refused(width: str) -> None:
    with pytest.raises(ConfigError, match="share of its width, above 0") as caught:
        build(f"yolov7-tiny@{width}", ["a"])
    assert "yolov7-tiny@0.25" in caught.value.fix


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'yolov7-tny' is no architecture") as caught:
        build("yolov7-tny", ["a"])
    assert caught.value.fix == "Did you mean 'yolov7-tiny'?"
    assert suggest("YOLOX-Nano").startswith("Did you mean 'yolox-nano'?")
    with pytest.raises(ConfigError) as caught:
        named("resnet@2")
    assert "yolov5x" in caught.value.fix


def test_what_counts_as_a_name() -> None:
    assert is_named("yolov5s")
    assert is_named("yolov5s@0.5")
    assert not is_named("yolov5s.pt")
    assert not is_named("runs/yolov5s@0.5/best.safetensors")


def test_callers_cannot_change_the_catalogue() -> None:
    named("yolov7")["backbone"].clear()
    assert len(named("yolov7")["backbone"]) == 51


def test_recognising_a_mapping() -> None:
    for name in ARCHITECTURES:
        assert recognise(named(name)) == name
    official = named("yolov7-tiny")
    del official["activation"]
    for row in official["backbone"] + official["head"]:
        if row[2] == "Conv":
            row[3] += ["None", 1, "nn.LeakyReLU(0.1)"]
    official["head"][-1][2] = "Detect"
    assert recognise(official) == "yolov7-tiny"
    assert recognise(changed(official, width_multiple=0.3)) == "yolov7-tiny@0.3"
    silu = {**official, "activation": "nn.SiLU()"}
    for part in ("backbone", "head"):
        silu[part] = [[*r[:3], r[3][:3]] if r[2] == "Conv" else r for r in official[part]]
    assert recognise(silu) == "yolov7-tiny-silu"
    assert recognise({**silu, "activation": "nn.ReLU()"}) is None
    assert recognise(MENAGERIE) is None
    assert recognise({"nc": 3}) is None
