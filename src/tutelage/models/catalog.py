"""The architectures that come with the package, by name."""

from __future__ import annotations

import copy
import math
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
}

MAX_WIDTH = 8.0


def is_named(text: str) -> bool:
    """Return whether ``text`` is an architecture name, with or without ``@width``."""
    return text.partition("@")[0] in ARCHITECTURES and Path(text).name == text


def named(text: str) -> dict[str, Any]:
    """Return the yaml mapping of an architecture.

    Args:
        text: A name, or ``name@width``: the same graph with that width multiple, e.g.
            ``yolov7-tiny@0.25``.

    Raises:
        ConfigError: No such architecture, or a width that is no number in 0..8.
    """
    name, at, width = text.partition("@")
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"'{text}' is not an architecture.",
            fix=nearest(name, ARCHITECTURES) or f"Known: {', '.join(ARCHITECTURES)}.",
            code="C27",
        )
    variant = ARCHITECTURES[name]
    mapping = copy.deepcopy(_graph(variant.file))
    mapping["depth_multiple"] = variant.depth
    if variant.activation:
        mapping["activation"] = variant.activation
    mapping["width_multiple"] = _width(text, width) if at else variant.width
    return mapping


def recognise(arch: Mapping[str, Any]) -> str | None:
    """Return the name of the architecture with the same rows as a mapping, or None.

    Another width gives ``name@width``. Neither the type of the head nor the auxiliary rows are
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
            alike.append(name)
    return f"{alike[0]}@{given.width:g}" if alike else None


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


def _width(text: str, width: str) -> float:
    try:
        value = float(width)
    except ValueError:
        value = math.nan
    if not 0 < value <= MAX_WIDTH:
        raise ConfigError(
            f"'{text}': after @ comes a width multiple above 0 and at most {MAX_WIDTH:g}.",
            fix="For example yolov7-tiny@0.25.",
            code="C27",
        )
    return value


@lru_cache
def _graph(file: str) -> dict[str, Any]:
    path = Path(__file__).parent / "arch" / file
    return yaml.safe_load(path.read_text(encoding="utf-8"))
