"""The anchor head: one 1 x 1 convolution per pyramid level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.losses import AnchorCriterion
from tutelage.models.blocks.pointwise import PointwiseConv2d
from tutelage.models.heads.decode import decode, decode_rows
from tutelage.models.heads.head import AnchorSearch, Head
from tutelage.structures import Predictions
from tutelage.weights.convert import Family

MAX_ANCHORS, MAX_ANCHOR = 100, 1e6  # per level; pixels

Anchors = Sequence[Sequence[tuple[float, float]]]
"""Per level, the (width, height) of each anchor in pixels."""

_SLACK: Mapping[Family, float] = {"yolov7": 0.99, "yolov5": 0.99999, "yolox": 0.99999}


class Detect(Head):
    """Predict ``5 + classes`` logits per anchor and cell: x, y, w, h, objectness, classes.

    Args:
        channels: Channels of each input map.
        strides: Pixels per cell of each input map.
        anchors: Anchors in pixels, one list per level; levels in the wrong order are reversed.
        classes: Number of classes.
        family: Decides the class bias and whether the anchors in pixels are a second buffer.

    Attributes:
        m: The convolutions.
        anchors: ``(levels, a, 2)`` width and height in cells.
        anchor_grid: ``(levels, 1, a, 1, 1, 2)`` in pixels, or None (YOLOv5).
    """

    arguments: ClassVar[tuple[str, ...]] = ("nc", "anchors")
    coding_buffers: ClassVar[frozenset[str]] = frozenset({"anchors", "anchor_grid"})
    criterion_type: ClassVar[type[AnchorCriterion]] = AnchorCriterion

    anchors: Tensor
    anchor_grid: Tensor | None

    def __init__(
        self,
        channels: Sequence[int],
        *,
        strides: Sequence[int],
        anchors: Anchors,
        classes: int,
        family: Family,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.family: Family = family
        self.strides = tuple(strides)
        sizes = _in_level_order(anchors, strides, family)
        cells = [
            [(w / stride, h / stride) for w, h in level]
            for level, stride in zip(sizes, strides, strict=True)
        ]
        pixels = torch.tensor(sizes)
        levels, count, _ = pixels.shape
        self.candidates_per_cell = count
        self.register_buffer("anchors", torch.tensor(cells))
        grid = pixels.view(levels, 1, count, 1, 1, 2) if family == "yolov7" else None
        self.register_buffer("anchor_grid", grid)
        self.m = nn.ModuleList(PointwiseConv2d(c, count * (5 + classes), 1) for c in channels)
        self._start_biases(self.convolutions)

    @classmethod
    def read_options(
        cls, arch: Mapping[str, Any], levels: int, faults: list[str]
    ) -> dict[str, Any]:
        """Read ``anchors``: per level w1, h1, w2, h2, ... in pixels, or their number per level."""
        return {"anchors": _read_anchors(arch.get("anchors"), levels, faults)}

    @classmethod
    def outputs(cls, classes: int, **options: Any) -> int:
        """Return the output channels per cell; rows of just that width are never scaled."""
        return len(options["anchors"][0]) * (5 + classes)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolution of each level."""
        return [cast("nn.Conv2d", conv) for conv in self.m]

    @property
    def anchor_sizes(self) -> Tensor:
        """``(levels, a, 2)`` anchor widths and heights in pixels."""
        if self.anchor_grid is not None:
            return self.anchor_grid.view(self.anchors.shape)
        return torch.stack([a * s for a, s in zip(self.anchors, self.strides, strict=True)])

    @torch.no_grad()
    def set_anchor_sizes(self, pixels: Tensor) -> None:
        """Replace the anchors by ``(levels, a, 2)`` widths and heights in pixels."""
        pixels = pixels.to(self.anchors)
        if pixels.shape != self.anchors.shape:
            raise ValueError(
                f"expected anchors of shape {tuple(self.anchors.shape)}, got {tuple(pixels.shape)}"
            )
        self.anchors.copy_(torch.stack([a / s for a, s in zip(pixels, self.strides, strict=True)]))
        if self.anchor_grid is not None:
            self.anchor_grid.copy_(pixels.view(self.anchor_grid.shape))

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Each level's ``(b, c, ny, nx)`` map to ``(b, a, ny, nx, 5 + classes)`` logits."""
        return tuple(self._split(conv(x)) for conv, x in zip(self.m, features, strict=True))

    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        """Decode ``(b, a, ny, nx, 5 + c)`` per level; ordered by level, anchor, row, column."""
        return decode(raw, self.anchor_sizes, self.strides)

    def decode_rows(self, raw: Sequence[Tensor]) -> Tensor:
        """Decode to the rows of YOLOv5 and YOLOv7, in the order of :meth:`decode`."""
        return decode_rows(raw, self.anchor_sizes, self.strides)

    def criterion(self, config: LossConfig, *, image_size: int) -> AnchorCriterion:
        """Return the anchor loss; ``assigner: auto`` is OTA for YOLOv7, anchor-ratio for YOLOv5."""
        return self.criterion_type(
            anchors=self.anchor_sizes,
            strides=self.strides,
            classes=self.classes,
            config=config,
            assigner=self.assigner(config),
            image_size=image_size,
        )

    def assigner(self, config: LossConfig) -> Literal["ota", "anchor"]:
        """Return the assigner of the settings, or the one that ``auto`` stands for."""
        if config.assigner == "auto":
            return "ota" if self.family == "yolov7" else "anchor"
        return config.assigner

    def training_state(self) -> dict[str, Any]:
        """Return the anchors in pixels, as a model yaml has them."""
        return {"anchors": self.anchor_sizes.flatten(1).tolist()}

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Take over the anchors of :meth:`training_state`."""
        self.set_anchor_sizes(torch.tensor(state["anchors"]).view(self.anchors.shape))

    def fit_anchors(self, search: AnchorSearch) -> str:
        """Take better anchors if ``search`` finds any."""
        found, report = search(self.anchor_sizes, self.strides)
        if found is not None:
            self.set_anchor_sizes(found)
        return report

    @classmethod
    def complete_mapping(
        cls, arch: dict[str, Any], state: Mapping[str, Tensor], prefix: str, strides: Sequence[int]
    ) -> None:
        """Take anchors from the buffers if the yaml has another number of them, or only a count."""
        cells, pixels = state.get(f"{prefix}.anchors"), state.get(f"{prefix}.anchor_grid")
        if cells is None or cells.dim() != 3:
            return
        written = arch.get("anchors")
        if isinstance(written, list) and len(written) == len(cells):
            lists = [level for level in written if isinstance(level, list)]
            if [len(level) for level in lists] == [2 * cells.shape[1]] * len(cells):
                return
        if pixels is not None:
            arch["anchors"] = pixels.reshape(len(cells), -1).tolist()
        elif len(strides) == len(cells):
            scaled = [a.float() * s for a, s in zip(cells, strides, strict=True)]
            arch["anchors"] = torch.stack(scaled).flatten(1).tolist()

    def complete_state(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """Add or drop the anchors in pixels, which not every release stored."""
        completed = dict(state)
        cells, key = state.get(f"{prefix}.anchors"), f"{prefix}.anchor_grid"
        if self.anchor_grid is None:
            completed.pop(key, None)
        elif key not in completed and cells is not None and len(cells) == len(self.strides):
            pixels = torch.stack([a.float() * s for a, s in zip(cells, self.strides, strict=True)])
            completed[key] = pixels.view(len(cells), 1, -1, 1, 1, 2)
        return completed

    def _split(self, x: Tensor) -> Tensor:
        """Give each anchor its own axis; on channels-last maps the copy runs along memory."""
        b, _, ny, nx = x.shape
        x = x.view(b, self.anchors.shape[1], 5 + self.classes, ny, nx)
        return x.permute(0, 1, 3, 4, 2).contiguous()

    @torch.no_grad()
    def _start_biases(self, convolutions: Sequence[nn.Conv2d]) -> None:
        """Start from few objects: 8 per 640 px image, and classes at about 0.6 / count each."""
        slack = _SLACK[self.family]
        for conv, stride in zip(convolutions, self.strides, strict=True):
            bias = cast("Tensor", conv.bias).view(-1, 5 + self.classes)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.classes - slack))


def _in_level_order(
    anchors: Anchors, strides: Sequence[int], family: Family
) -> list[list[tuple[float, float]]]:
    """Reverse the levels if their anchors shrink where the strides grow."""
    levels = [[(float(w), float(h)) for w, h in level] for level in anchors]
    if family == "yolov7":
        first, last = math.prod(levels[0][0]), math.prod(levels[-1][-1])
    else:
        first, last = (sum(map(math.prod, levels[i])) / len(levels[i]) for i in (0, -1))
    growth, step = last - first, strides[-1] - strides[0]
    return levels[::-1] if growth * step < 0 else levels


def _read_anchors(
    value: Any, levels: int, faults: list[str]
) -> tuple[tuple[tuple[float, float], ...], ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ANCHORS:
        value = [list(range(2 * value))] * max(levels, 1)  # placeholders, for autoanchor to replace
    if not isinstance(value, list) or not value:
        faults.append(
            "anchors must be lists of w1,h1,w2,h2,... in pixels, or a count per level "
            f"up to {MAX_ANCHORS}"
        )
        return (((1.0, 1.0),),)
    found: list[tuple[tuple[float, float], ...]] = []
    for level in cast("list[Any]", value):
        flat: Sequence[Any] = cast("list[Any]", level) if isinstance(level, list) else []
        numbers = [float(x) for x in flat if isinstance(x, int | float) and abs(x) <= MAX_ANCHOR]
        if not numbers or len(numbers) % 2 or len(numbers) != len(flat):
            faults.append(f"anchors of a level must be pairs of numbers, got {level}")
        found.append(tuple(zip(numbers[::2], numbers[1::2], strict=False)))
    if levels and len(found) != levels:
        faults.append(f"{len(found)} levels of anchors, but the head has {levels} levels")
    if len({len(level) for level in found}) > 1:
        faults.append("every level needs the same number of anchors")
    return tuple(found)
