"""Reading the yaml of a graph: ``[from, number, module, args]`` rows to a checked description."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, get_args

from tutelage.errors import ConfigError, nearest
from tutelage.models.blocks import BLOCKS
from tutelage.models.blocks.activation import (
    Activation,
    SiLU,
    looks_like_activation,
    parse_activation,
)
from tutelage.models.heads import HEADS, Detect, Head
from tutelage.weights.convert import Family

MAX_REPEATS = 1000  # of a row; the deepest model known has 15
MAX_MULTIPLE = 100.0  # of depth and width; the largest known has 1.33

IMAGE = -1
"""The source of the first row: the image."""

_KEYS = (
    "nc", "depth_multiple", "width_multiple", "channel_multiple", "anchors", "ch", "activation",
    "backbone", "head", "levels", "family", "depthwise", "d_fine",
)  # fmt: skip
_YOLOV7_BLOCKS = {"IDetect", "IAuxDetect", "MP", "SP", "SPPCSPC", "RepConv", "ReOrg", "DownC"}
_UNSUPPORTED = {
    "IBin": "only boxes by regression are supported: Detect, IDetect or IAuxDetect",
    "IKeypoint": "keypoint heads are not supported",
    "Segment": "segmentation heads are not supported",
}
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class GraphRow:
    """One row of the graph.

    Attributes:
        index: Its place, counted from 0 over backbone and head.
        sources: Rows whose outputs it reads; -1 is the image.
        count: Depth-scaled repeat count.
        block: Name in ``BLOCKS`` or ``HEADS``.
        args: Parsed arguments.
        text: As written, for messages.
    """

    index: int
    sources: tuple[int, ...]
    count: int
    block: str
    args: tuple[Any, ...]
    text: str


class Architecture(NamedTuple):
    """A checked graph description.

    Attributes:
        name: For messages and files.
        classes: Number of classes.
        width: Width multiple.
        unit: Scaled widths are multiples of it.
        image_channels: Channels of the image: 3, or 1 for grey.
        activation: Default activation.
        head: The kind of the head.
        head_options: What the yaml says of it, e.g. its anchors.
        rows: All rows; the last one is the head.
        levels: Default taps named by the yaml, e.g. ``{"p3": 75}``; may be empty.
        family: Whose conventions hold for biases, buffers and losses.
        mapping: The yaml mapping with ``nc`` set.
    """

    name: str
    classes: int
    width: float
    unit: int
    image_channels: int
    activation: Activation
    head: type[Head]
    head_options: dict[str, Any]
    rows: tuple[GraphRow, ...]
    levels: dict[str, int]
    family: Family
    mapping: dict[str, Any]

    @property
    def lead(self) -> tuple[int, ...]:
        """The rows that the head reads, one per level; auxiliary ones follow these."""
        sources = self.rows[-1].sources
        return sources[: len(sources) // self.head.maps_per_level]

    @property
    def outputs(self) -> int:
        """Output channels of the head per cell."""
        return self.head.outputs(self.classes, **self.head_options)

    def scale(self, channels: int) -> int:
        """Scale a nominal width, rounded up to the unit.

        A width equal to the output count of an anchor head is kept, whatever row it is in:
        checkpoints trained by YOLOv5 and YOLOv7 depend on it.
        """
        if self.head.keeps_width and channels == self.outputs:
            return channels
        scaled = channels * self.width / self.unit
        return math.ceil(scaled) * self.unit


def read_architecture(arch: Mapping[str, Any], *, name: str, classes: int) -> Architecture:
    """Check a graph mapping and resolve all that does not need modules.

    Args:
        arch: Mapping as in a YOLOv5 or YOLOv7 yaml; optional extra keys ``levels`` (default taps,
            e.g. ``{p3: 75}``) and ``family`` (a :data:`Family`).
        name: For messages.
        classes: Number of classes; replaces ``nc``.

    Raises:
        ConfigError: Anything that cannot be used; all faults are listed.
    """
    faults: list[str] = []
    mapping = {**arch, "nc": classes}
    for key in arch:
        hint = nearest(str(key), _KEYS) if key not in _KEYS else ""
        if hint:
            faults.append(f"unknown key '{key}'. {hint}")
    if classes < 1:
        faults.append(f"nc must be a positive integer, got {classes}")
    depth = _positive(arch, "depth_multiple", faults)
    width = _positive(arch, "width_multiple", faults)
    unit = _integer(arch, "channel_multiple", 8, faults)
    channels = arch.get("ch", 3)
    if channels not in (1, 3) or isinstance(channels, bool):
        faults.append(f"ch must be 3, or 1 for grey, as images are read as RGB; got {channels!r}")
    activation = _default_activation(arch, faults)
    rows = _rows(arch, classes, depth, faults)
    head = HEADS[rows[-1].block] if rows else Detect
    levels_read = len(rows[-1].sources) // head.maps_per_level if rows else 0
    head_options = head.read_options(arch, levels_read, faults)
    levels = _named_levels(arch.get("levels") or {}, len(rows), faults)
    family = _family(arch.get("family"), rows, faults)
    if faults:
        raise ConfigError(f"{name} is not a usable model: " + "; ".join(faults), code="C28")
    return Architecture(
        name, classes, width, unit, channels, activation,
        head, head_options, rows, levels, family, mapping,
    )  # fmt: skip


def _positive(arch: Mapping[str, Any], key: str, faults: list[str]) -> float:
    value = arch.get(key, 1.0)
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not 0 < value <= MAX_MULTIPLE:
        faults.append(f"{key} must be a positive number up to {MAX_MULTIPLE:g}, got {value!r}")
        return 1.0
    return float(value)


def _integer(arch: Mapping[str, Any], key: str, default: int, faults: list[str]) -> int:
    value = arch.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        faults.append(f"{key} must be a positive integer, got {value!r}")
        return default
    return value


def _default_activation(arch: Mapping[str, Any], faults: list[str]) -> Activation:
    text = arch.get("activation")
    if text is None:
        return SiLU
    try:
        return parse_activation(str(text))
    except ValueError as error:
        faults.append(f"activation: {error}")
        return SiLU


def _rows(
    arch: Mapping[str, Any], classes: int, depth: float, faults: list[str]
) -> tuple[GraphRow, ...]:
    written: list[Any] = []
    for part in ("backbone", "head"):
        value = arch.get(part)
        if not isinstance(value, list) or not value:
            faults.append(f"'{part}' must be a list of rows [from, number, module, args]")
        else:
            written.extend(cast("list[Any]", value))
    rows: list[GraphRow] = []
    for index, row in enumerate(written):
        text = f"row {index} {_shown(row)}"
        try:
            rows.append(_row(index, row, classes, depth, text, last=index == len(written) - 1))
        except ValueError as error:
            faults.append(f"{text}: {error}")
    return tuple(rows) if len(rows) == len(written) else ()


def _row(index: int, row: Any, classes: int, depth: float, text: str, *, last: bool) -> GraphRow:
    if not isinstance(row, list) or len(cast("list[Any]", row)) != 4:
        raise ValueError("a row has four parts: from, number, module, args")
    source, number, block, args = cast("list[Any]", row)
    if (
        isinstance(number, bool)
        or not isinstance(number, int)
        or not 1 <= number <= MAX_REPEATS / max(depth, 1)
    ):
        raise ValueError(f"number must be a positive integer up to {MAX_REPEATS}, got {number!r}")
    _check_block(block, last=last)
    if not isinstance(args, list):
        raise ValueError(f"args must be a list, got {args!r}")
    parsed = tuple(parse_argument(value, classes) for value in cast("list[Any]", args))
    if block in HEADS:
        words = HEADS[block].arguments
        if parsed != tuple(classes if word == "nc" else word for word in words):
            raise ValueError(f"the arguments of a head are [{', '.join(words)}]")
    count = max(round(number * depth), 1) if number > 1 else number
    sources = _sources(index, source)
    if block in HEADS and len(sources) % HEADS[block].maps_per_level:
        raise ValueError(f"{block} reads as many auxiliary rows as lead rows, got {len(sources)}")
    return GraphRow(index, sources, count, block, parsed, text)


def _check_block(block: Any, *, last: bool) -> None:
    if not isinstance(block, str):
        raise ValueError(f"the module must be a name, got {block!r}")
    if block in _UNSUPPORTED:
        raise ValueError(f"{block}: {_UNSUPPORTED[block]}")
    if block in HEADS:
        if not last:
            raise ValueError(f"{block} must be the last row")
        return
    if last:
        raise ValueError(f"the last row must be a head: {' or '.join(HEADS)}")
    if block not in BLOCKS:
        choices = [*BLOCKS, *HEADS]
        hint = nearest(str(block), choices) or f"Known: {', '.join(choices)}"
        raise ValueError(f"unknown module '{block}'. {hint}")


def _sources(index: int, source: Any) -> tuple[int, ...]:
    entries: list[Any] = cast("list[Any]", source) if isinstance(source, list) else [source]
    found: list[int] = []
    for entry in entries:
        if entry == "image":
            found.append(IMAGE)
            continue
        if isinstance(entry, bool) or not isinstance(entry, int):
            raise ValueError(f"from must be integers or image, got {source!r}")
        absolute = index + entry if entry < 0 else entry
        if absolute >= index:
            raise ValueError(f"from {entry} does not point to an earlier row")
        if absolute < 0 and not (index == 0 and entry == -1):
            raise ValueError(f"from {entry} points before row 0")
        found.append(absolute)
    if not found:
        raise ValueError("from is empty")
    return tuple(found)


def parse_argument(value: Any, classes: int) -> Any:
    """Read one argument of a row: no name is looked up and nothing is evaluated.

    Args:
        value: Number, boolean, None, list, or a string as yaml gives it.
        classes: The value of the name ``nc``.

    Returns:
        A number, boolean, None, list, string or activation. Unknown words stay strings.

    Raises:
        ValueError: A malformed activation, or a type that has no meaning here.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [parse_argument(item, classes) for item in cast("list[Any]", value)]
    if not isinstance(value, str):
        raise ValueError(f"cannot use the argument {value!r}")
    text = value.strip().strip("'\"")
    words = {"nc": classes, "None": None, "True": True, "False": False}
    if text in words:
        return words[text]
    if looks_like_activation(text):
        return parse_activation(text)
    if _NUMBER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    return text


def _named_levels(value: Any, rows: int, faults: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    items: Mapping[Any, Any] = cast("Mapping[Any, Any]", value) if isinstance(value, dict) else {}
    if items != value:
        faults.append(f"levels must be a mapping such as {{p3: 75}}, got {value!r}")
    for key, row in items.items():
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < max(rows - 1, 1):
            faults.append(f"levels: {key} must be a row before the head, got {row!r}")
        else:
            found[str(key)] = row
    return found


def _family(value: Any, rows: tuple[GraphRow, ...], faults: list[str]) -> Family:
    if value is not None:
        if value in get_args(Family):
            return cast("Family", value)
        faults.append(f"family must be one of {', '.join(get_args(Family))}; got {value!r}")
    return "yolov7" if any(row.block in _YOLOV7_BLOCKS for row in rows) else "yolov5"


def _shown(row: Any) -> str:
    if isinstance(row, list):
        return "[" + ", ".join(_shown(item) for item in cast("list[Any]", row)) + "]"
    return str(row)
