"""The architectures that come with the package, by name."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tutelage.errors import ConfigError, nearest
from tutelage.models.architecture import Architecture, GraphRow, read_architecture


class Variant(NamedTuple):
    """A graph file, its depth and width multiples, and an activation that replaces the file's."""

    file: str
    depth: float = 1.0
    width: float = 1.0
    activation: str = ""


ARCHITECTURES: Mapping[str, Variant] = {
    "yolov7-tiny": Variant("yolov7-tiny.yaml"),
    "yolov7-tiny-silu": Variant("yolov7-tiny.yaml", activation="nn.SiLU()"),
    "yolov7": Variant("yolov7.yaml"),
    "yolov7x": Variant("yolov7x.yaml"),
    "yolov7-w6": Variant("yolov7-w6.yaml"),
    "yolov7-e6": Variant("yolov7-e6.yaml"),
    "yolov7-d6": Variant("yolov7-d6.yaml"),
    "yolov7-e6e": Variant("yolov7-e6e.yaml"),
    "yolov5n": Variant("yolov5.yaml", 0.33, 0.25),
    "yolov5s": Variant("yolov5.yaml", 0.33, 0.50),
    "yolov5m": Variant("yolov5.yaml", 0.67, 0.75),
    "yolov5l": Variant("yolov5.yaml", 1.0, 1.0),
    "yolov5x": Variant("yolov5.yaml", 1.33, 1.25),
    "yolov5n6": Variant("yolov5-p6.yaml", 0.33, 0.25),
    "yolov5s6": Variant("yolov5-p6.yaml", 0.33, 0.50),
    "yolov5m6": Variant("yolov5-p6.yaml", 0.67, 0.75),
    "yolov5l6": Variant("yolov5-p6.yaml", 1.0, 1.0),
    "yolov5x6": Variant("yolov5-p6.yaml", 1.33, 1.25),
    "yolov9-t": Variant("yolov9-s.yaml", width=0.5),
    "yolov9-s": Variant("yolov9-s.yaml"),
    "yolov9-m": Variant("yolov9-m.yaml"),
    "yolov9-c": Variant("yolov9-c.yaml"),
    "yolox-nano": Variant("yolox-nano.yaml", 0.33, 0.25),
    "yolox-tiny": Variant("yolox.yaml", 0.33, 0.375),
    "yolox-s": Variant("yolox.yaml", 0.33, 0.50),
    "yolox-m": Variant("yolox.yaml", 0.67, 0.75),
    "yolox-l": Variant("yolox.yaml", 1.0, 1.0),
    "yolox-x": Variant("yolox.yaml", 1.33, 1.25),
}

MAX_WIDTH = 8.0
_OTHER_FAMILIES = re.compile(
    r"(yolo(v[3468]|v9[a-z]|v?1\d|v?26|e|_?nas|world)|yolov5\w*u|rt-?detr)", re.I
)
_THREE_LEVELS = {"yolox": "YOLOX", "yolov9": "YOLOv9"}
_DIGITS = 12  # of a width multiple; what float arithmetic adds would round channels up


def is_named(text: str) -> bool:
    """Return whether ``text`` is an architecture name, with or without ``@share``."""
    return text.partition("@")[0] in ARCHITECTURES and Path(text).name == text


def named(text: str) -> dict[str, Any]:
    """Return the yaml mapping of an architecture.

    Args:
        text: A name, or ``name@share``: the same graph with that share of its width, e.g.
            ``yolov7-tiny@0.25`` or ``yolov5n@0.5``, whose width multiple is 0.5 × 0.25.

    Raises:
        ConfigError: No such architecture, or a share that is no number in 0..8.
    """
    name, at, share = text.partition("@")
    if name not in ARCHITECTURES:
        raise ConfigError(f"'{text}' is not an architecture.", fix=suggest(name), code="C27")
    variant = ARCHITECTURES[name]
    mapping = copy.deepcopy(_graph(variant.file))
    mapping["depth_multiple"] = variant.depth
    if variant.activation:
        mapping["activation"] = variant.activation
    width = variant.width * (_share(text, share) if at else 1)
    mapping["width_multiple"] = float(f"{width:.{_DIGITS}g}")
    return mapping


def describe_width(text: str) -> str:
    """Return how a width came about, ``width 0.125 = 0.5 × 0.25``; empty if the name says it."""
    name, _, share = text.partition("@")
    if not share or not is_named(text) or ARCHITECTURES[name].width == 1:
        return ""
    return f"width {named(text)['width_multiple']:g} = {share} × {ARCHITECTURES[name].width:g}"


def stored_name(text: str, arch: Mapping[str, Any]) -> str:
    """Return the name of a stored graph, ``text`` unless it says another width than the graph.

    Files of version 0.1.0 have the width multiple itself after the ``@`` of YOLOv5.
    """
    try:
        same = "@" not in text or math.isclose(
            named(text)["width_multiple"], float(arch["width_multiple"])
        )
    except (ConfigError, LookupError, TypeError, ValueError):
        same = True  # a name of its own, or a graph that is refused when it is built
    return text if same else recognise(arch) or text


def suggest(name: str) -> str:
    """Return what to give in place of an architecture that is not known."""
    known = f"Architectures: {', '.join(ARCHITECTURES)}."
    if _OTHER_FAMILIES.match(name):
        return (
            "Students are YOLOv7, YOLOv5, YOLOv9 and YOLOX. A network of Ultralytics can be the "
            f"teacher:  --teacher-weights ultralytics:{Path(name).stem}.pt\n{known}"
        )
    for start, family in _THREE_LEVELS.items():
        if name.lower().startswith(start):
            sizes = ", ".join(each for each in ARCHITECTURES if each.startswith(start))
            hint = nearest(name.lower(), ARCHITECTURES)
            return f"{hint} The sizes of {family} are {sizes}; none has P6.".strip()
    return nearest(name.lower(), ARCHITECTURES) or known


def recognise(arch: Mapping[str, Any]) -> str | None:
    """Return the name of the architecture with the same rows as a mapping, or None.

    Another width gives ``name@share``. Neither the type of the head nor the auxiliary rows are
    compared: deploy files have neither. None of them reads grey images.
    """
    try:
        given = read_architecture(arch, name="graph", classes=1)
    except ConfigError:
        return None
    if given.image_channels != 3:
        return None
    rows = _outline(given)
    alike: list[str] = []
    for name, variant in ARCHITECTURES.items():
        if _known(name) == rows:
            if math.isclose(variant.width, given.width):
                return name
            alike.append(f"{name}@{_share_text(given.width, variant.width)}")
    return min(alike, key=len, default=None)


def _share_text(width: float, full: float) -> str:
    short = f"{width / full:g}"
    exact = math.isclose(float(short) * full, width)
    return short if exact else f"{width / full:.{_DIGITS}g}"


@lru_cache
def _known(name: str) -> list[tuple[Any, ...]]:
    return _outline(read_architecture(named(name), name=name, classes=1))


def _outline(arch: Architecture) -> list[tuple[Any, ...]]:
    body = arch.rows[: max(arch.lead) + 1]  # auxiliary rows follow
    rows = [
        (row.sources, row.count, row.block, row.args[:1], *_activation(row, arch)) for row in body
    ]
    return [*rows, (arch.lead, 1, "head", ())]


def _activation(row: GraphRow, arch: Architecture) -> tuple[str, ...]:
    """Return the activation of a convolution as comparable text."""
    if row.block != "Conv":
        return ()
    own = [arg for arg in row.args[1:] if callable(arg)]
    return (repr((own[-1] if own else arch.activation)()),)


def _share(text: str, share: str) -> float:
    try:
        value = float(share)
    except ValueError:
        value = math.nan
    if not 0 < value <= MAX_WIDTH:
        raise ConfigError(
            f"'{text}': after @ comes a share of its width, above 0 and at most {MAX_WIDTH:g}.",
            fix="For example yolov7-tiny@0.25.",
            code="C27",
        )
    return value


@lru_cache
def _graph(file: str) -> dict[str, Any]:
    path = Path(__file__).parent / "arch" / file
    return yaml.safe_load(path.read_text(encoding="utf-8"))
