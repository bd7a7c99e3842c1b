"""Small graphs for tests."""

from __future__ import annotations

import copy
from typing import Any

YOLOV5N6: dict[str, Any] = {
    "nc": 80,
    "depth_multiple": 0.33,
    "width_multiple": 0.25,
    "anchors": [
        [19, 27, 44, 40, 38, 94],
        [96, 68, 86, 152, 180, 137],
        [140, 301, 303, 264, 238, 542],
        [436, 615, 739, 380, 925, 792],
    ],
    "backbone": [
        [-1, 1, "Conv", [64, 6, 2, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C3", [128]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C3", [256]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 9, "C3", [512]],
        [-1, 1, "Conv", [768, 3, 2]],
        [-1, 3, "C3", [768]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C3", [1024]],
        [-1, 1, "SPPF", [1024, 5]],
    ],
    "head": [
        [-1, 1, "Conv", [768, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 8], 1, "Concat", [1]],
        [-1, 3, "C3", [768, False]],
        [-1, 1, "Conv", [512, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 3, "C3", [512, False]],
        [-1, 1, "Conv", [256, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 3, "C3", [256, False]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 20], 1, "Concat", [1]],
        [-1, 3, "C3", [512, False]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 16], 1, "Concat", [1]],
        [-1, 3, "C3", [768, False]],
        [-1, 1, "Conv", [768, 3, 2]],
        [[-1, 12], 1, "Concat", [1]],
        [-1, 3, "C3", [1024, False]],
        [[23, 26, 29, 32], 1, "Detect", ["nc", "anchors"]],
    ],
}

# Every block once, with the spellings that yamls use. Two levels, strides 8 and 16.
MENAGERIE: dict[str, Any] = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 0.5,
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "activation": "nn.ReLU()",
    "backbone": [
        [-1, 1, "Focus", [32, 3]],
        [-1, 1, "DWConv", [32, 3, 2]],
        [-1, 2, "Bottleneck", [32]],
        [-1, 1, "nn.BatchNorm2d", []],
        [-1, 1, "DownC", [48]],
        [-1, 1, "RepConv", [48, 3, 1]],
        [[-1, -2], 1, "Shortcut", [1]],
        [-1, 1, "SPP", [64, [3, 5]]],
        [-1, 1, "nn.ZeroPad2d", [[0, 1, 0, 1]]],
        [-1, 1, "nn.MaxPool2d", [2, 1, 0]],
        [-1, 1, "ReOrg", []],
        [-1, 1, "SPPCSPC", [64]],
        [-1, 2, "Conv", [64, [3, 1], 1, None, 1, "nn.LeakyReLU(0.2)"]],
        [-1, 1, "Conv", [64, 3, 1, None, 1, 2, False]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "'nearest'"]],
        [[-1, 9], 1, "Concat", [1]],
        [-1, 1, "nn.Conv2d", [64, 1]],
        [-1, 1, "SP", [5]],
        [-1, 1, "MP", []],
        [[-1, 13], 1, "Concat", [1]],
        [-1, 2, "C3", [64, False]],
        [-1, 1, "SPPF", [64, 3]],
        [-1, 1, "nn.Identity", []],
        [[17, 22], 1, "IDetect", ["nc", "anchors"]],
    ],
}


def changed(base: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A copy of a graph with some keys replaced."""
    return {**copy.deepcopy(base), **keys}


def with_row(base: dict[str, Any], part: str, place: int, row: Any) -> dict[str, Any]:
    """A copy of a graph with one row replaced."""
    graph = copy.deepcopy(base)
    graph[part][place] = row
    return graph
