"""Translates the keys of the YOLOv9 weights that MultimediaTechLab/YOLO publishes (MIT licence).

There the head is a row of its own before the auxiliary rows, and the auxiliary head is the last
row; here one head, the last row, has both. What a state says twice (parameters and their EMA, in
checkpoints of its trainer) is taken from the EMA.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_HEAD = re.compile(r"((?:\w+\.)*?)(\d+)\.heads\.0\.class_conv\.2\.bias")
_KEY = re.compile(r"(\d+)\.(.+)")
_BRANCH = re.compile(r"heads\.(\d+)\.(anchor|class)_conv\.")
_REP = re.compile(r"(.*bottleneck\.\d+\.conv1)\.conv([12])\.(conv|bn)\.")
_BRANCHES = {"anchor": "box", "class": "cls"}
_REP_PARTS = {"1": "rbr_dense", "2": "rbr_1x1", "conv": "0", "bn": "1"}
_CONSTANT = "anc2vec"  # the values of the bins
_HEADS = 2


def yolov9_keys(state: Mapping[str, Value]) -> dict[str, Value] | None:
    """Return a state under the keys used here; None if it is not of the published YOLOv9.

    Args:
        state: Any state dict.
    """
    heads = [match for match in map(_HEAD.fullmatch, state) if match]
    if not heads:
        return None
    prefix = next((m[1] for m in heads if m[1].startswith("ema.")), heads[0][1])
    rows = sorted(int(match[2]) for match in heads if match[1] == prefix)
    if len(rows) != _HEADS:
        return None
    own = {key[len(prefix) :]: x for key, x in state.items() if key.startswith(prefix)}
    translated: dict[str, Value] = {}
    for key, value in own.items():
        match = _KEY.fullmatch(key)
        if match and _CONSTANT not in key:
            row, part = int(match[1]), match[2]
            bare = part in ("conv.weight", "conv.bias") and f"{row}.bn.weight" not in own
            translated[_translate(row, part, rows[0], rows[1], bare=bare)] = value
    return translated


def _translate(row: int, part: str, lead: int, auxiliary: int, *, bare: bool) -> str:
    """Return the key of a tensor, given the rows of both heads.

    Args:
        row: Its row.
        part: The rest of its key.
        lead: Row of the head.
        auxiliary: Row of the auxiliary head.
        bare: Whether the row is a convolution alone.
    """
    if row in (lead, auxiliary):
        group = "lead" if row == lead else "auxiliary"
        part = _BRANCH.sub(lambda m: f"{group}.{m[1]}.{_BRANCHES[m[2]]}.", part)
        return f"model.{auxiliary - 1}.{part}"
    part = _REP.sub(lambda m: f"{m[1]}.{_REP_PARTS[m[2]]}.{_REP_PARTS[m[3]]}.", part)
    part = part.removeprefix("conv.") if bare else part
    return f"model.{row - (row > lead)}.{part}"
