"""The keys of the published YOLOX weights, and those of our graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

STEM = "backbone.backbone.stem.conv.conv.weight"
"""A tensor that every YOLOX network with this backbone has."""

_ROWS: Mapping[str, int] = {
    "backbone.backbone.stem": 0,
    "backbone.backbone.dark2.0": 1,
    "backbone.backbone.dark2.1": 2,
    "backbone.backbone.dark3.0": 3,
    "backbone.backbone.dark3.1": 4,
    "backbone.backbone.dark4.0": 5,
    "backbone.backbone.dark4.1": 6,
    "backbone.backbone.dark5.0": 7,
    "backbone.backbone.dark5.1": 8,
    "backbone.backbone.dark5.2": 9,
    "backbone.lateral_conv0": 10,
    "backbone.C3_p4": 13,
    "backbone.reduce_conv1": 14,
    "backbone.C3_p3": 17,
    "backbone.bu_conv2": 18,
    "backbone.C3_n3": 20,
    "backbone.bu_conv1": 21,
    "backbone.C3_n4": 23,
    "head": 24,
}
_MODULE = re.compile("|".join(map(re.escape, _ROWS)))
_NUMBERED = re.compile(
    r"(?<=\.)conv(?=[123]\.)"
)  # conv1, conv2, conv3 of a block are cv1, ... here


def yolox_keys(state: Mapping[str, Value]) -> dict[str, Value] | None:
    """Return a published state under the keys of our graphs, None if it is of no YOLOX.

    Wrappers' prefixes and keys of unknown modules are left out.

    Args:
        state: Anything by its keys.
    """
    start = next((key.removesuffix(STEM) for key in state if key.endswith(STEM)), None)
    if start is None:
        return None
    found: dict[str, Value] = {}
    for key, value in state.items():
        module = _MODULE.match(key, len(start)) if key.startswith(start) else None
        if module is not None and key[module.end() :].startswith("."):
            part = _NUMBERED.sub("cv", key[module.end() :])
            found[f"model.{_ROWS[module[0]]}{part}"] = value
    return found
