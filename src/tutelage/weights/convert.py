"""Infers the form of a model from the tensors and the yaml of a checkpoint.

The families differ in the buffers of their head: YOLOv7 (and YOLOv5 up to 5.0) keeps ``anchors`` in
grid units and ``anchor_grid`` in pixels, YOLOv5 from 6.0 on only ``anchors``. The anchors of the
yaml are never used, since a search for anchors changes the buffers only. YOLOv9 and YOLOX have no
anchors, but convolutions of their own for the classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import Tensor

from tutelage.errors import WeightsError
from tutelage.weights.yolov9_keys import yolov9_keys
from tutelage.weights.yolox_keys import yolox_keys

Family = Literal["yolov7", "yolov5", "yolov9", "yolox"]
Value = TypeVar("Value")

_V5_BLOCKS = frozenset({"C3", "C3TR", "C3SPP", "C3Ghost", "C3x", "BottleneckCSP", "SPPF", "Focus"})
COUNTERS = ("total_ops", "total_params")
"""Buffers that FLOP counters add to every module."""

_PREFIX = re.compile(r"((?:\w+\.)*?)\d+\.(?:anchors|cls_preds\.0\.weight)")
_ACTIVATION = re.compile(r"nn\.\w+\(.*\)")
_ROW = re.compile(r"\d+\.")
_HEAD_KEY = re.compile(r"model\.(\d+)\.anchors")
_CLASS_KEY = re.compile(r"model\.\d+\.(?:cls_preds\.0\.weight|lead\.0\.cls\.2\.bias)")


@dataclass(frozen=True, slots=True)
class WeightsForm:
    """The form of the weights in a state dict.

    Attributes:
        family: ``yolov7``, ``yolov5``, ``yolov9`` or ``yolox``.
        classes: Number of classes, from the head's outputs and anchor buffer; 0 if unknown.
        implicit: The head has implicit parameters (IDetect, IAuxDetect) that are not folded.
        auxiliary: The head has auxiliary convolutions.
        fused: BatchNorm is folded into at least one convolution.
        reparameterised: RepConv is in its single-convolution form.
    """

    family: Family
    classes: int
    implicit: bool
    auxiliary: bool
    fused: bool
    reparameterised: bool

    @property
    def deploy(self) -> bool:
        """A YOLOv7 head without implicit parameters: official deploy weights."""
        return self.family == "yolov7" and not self.implicit


def infer_form(state: Mapping[str, Tensor], yaml: Mapping[str, Any], head: str = "") -> WeightsForm:
    """Return the form of a state dict, from its keys, shapes and yaml.

    Args:
        state: State dict under its official keys.
        yaml: The model yaml.
        head: Class name of the head, if known.

    Raises:
        WeightsError: There is no detection head that is known.
    """
    if (anchor_free := _anchor_free(state)) is not None:
        return anchor_free
    parts = [key.split(".") for key in state]
    fused = any(name[-2:] == ["conv", "bias"] for name in parts)
    keys = [match[1] for match in map(_HEAD_KEY.fullmatch, state) if match]
    shape = tuple(state[f"model.{keys[-1]}.anchors"].shape) if keys else ()
    if len(shape) != 3 or shape[2] != 2 or 0 in shape:
        kind = f" (its head is a {head})" if head else ""
        raise WeightsError(f"The weights hold no detection head that is known{kind}.", code="W22")
    row = keys[-1]
    head_parts = {part[2] for part in parts if part[:2] == ["model", row] and len(part) > 2}
    return WeightsForm(
        family=_family(head_parts, yaml, head),
        classes=_classes(state.get(f"model.{row}.m.0.weight"), shape[1]),
        implicit=not head_parts.isdisjoint(("ia", "im")),
        auxiliary="m2" in head_parts,
        fused=fused,
        reparameterised=any("rbr_reparam" in name for name in parts),
    )


def _anchor_free(state: Mapping[str, Tensor]) -> WeightsForm | None:
    """Return the form of a state with the head of YOLOv9 or YOLOX, else None."""
    key = next((key for key in state if _CLASS_KEY.fullmatch(key)), None)
    if key is None or not state[key].dim():
        return None
    return WeightsForm(
        family="yolox" if "cls_preds" in key else "yolov9",
        classes=len(state[key]),
        implicit=False,
        auxiliary=any(".auxiliary." in each for each in state),
        fused=any(each.endswith(".conv.bias") for each in state),
        reparameterised=any("rbr_reparam" in each for each in state),
    )


def _classes(kernel: Tensor | None, anchors: int) -> int:
    """Return the number of classes from the outputs of a head's first convolution."""
    outputs, rest = divmod(len(kernel), anchors) if kernel is not None and kernel.dim() else (0, 0)
    return max(outputs - 5, 0) if not rest else 0


def _family(head_parts: set[str], yaml: Mapping[str, Any], head: str) -> Family:
    if head.startswith("I") or head_parts & {"ia", "im", "m2"}:
        return "yolov7"
    if "anchor_grid" not in head_parts:
        return "yolov5"
    return "yolov5" if _V5_BLOCKS & set(block_names(yaml)) else "yolov7"


def official_keys(state: Mapping[str, Value]) -> dict[str, Value]:
    """Return a state dict with keys ``model.<row>.<...>``, whatever their prefix.

    Wrappers and training programs add prefixes (``module.``, ``_orig_mod.``, ``net.``). The prefix
    is that of the head's anchors or class convolutions; keys with another prefix are left out.
    Published weights of YOLOv9 and YOLOX have names of their own.
    """
    for renamed in (yolov9_keys(state), yolox_keys(state)):
        if renamed is not None:
            return renamed
    prefixes = [match[1] for match in map(_PREFIX.fullmatch, state) if match]
    if not prefixes:
        return dict(state)
    start = len(prefixes[-1])
    return {
        f"model.{key[start:]}": value
        for key, value in state.items()
        if key.startswith(prefixes[-1]) and _ROW.match(key, start) and not key.endswith(COUNTERS)
    }


def block_names(yaml: Mapping[str, Any]) -> list[str]:
    """Return the block of every row of a model yaml, in order."""
    return [str(row[2]) for row in rows_of(yaml)]


def rows_of(yaml: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of a model yaml, ``[from, number, block, args]``; malformed ones left out."""
    parts = [yaml.get("backbone"), yaml.get("head")]
    rows = [row for part in parts if isinstance(part, list) for row in part]
    return [row for row in rows if isinstance(row, list) and len(row) == 4]


def with_activation(yaml: Mapping[str, Any], activations: Sequence[str]) -> dict[str, Any]:
    """Return a model yaml that names its activation.

    Yamls omit the default activation, which has changed between releases; the modules of the model
    show which one was used.

    Args:
        yaml: The yaml stored with the model; empty stays empty.
        activations: The different activations of the model, as a yaml spells them.
    """
    arguments = [arg for row in rows_of(yaml) if isinstance(row[3], list) for arg in row[3]]
    named = "activation" in yaml or any(_ACTIVATION.fullmatch(str(arg)) for arg in arguments)
    if not yaml or named or len(activations) != 1 or activations[0] == "nn.SiLU()":
        return dict(yaml)
    return {**yaml, "activation": activations[0]}


def normalise_names(names: object, nc: int) -> tuple[str, ...]:
    """Return ``nc`` class names from a list (YOLOv7, older YOLOv5) or a dict (YOLOv5 from 7.0 on).

    If they are missing or of another length: the class numbers.
    """
    if isinstance(names, Mapping):
        by_number = {str(key): value for key, value in names.items()}
        names = [by_number.get(str(number)) for number in range(max(nc, len(by_number)))]
    if isinstance(names, list | tuple) and len(names) == nc and None not in names:
        return tuple(str(name) for name in names)
    return tuple(str(number) for number in range(nc))
