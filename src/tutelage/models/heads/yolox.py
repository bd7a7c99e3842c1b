"""The head of YOLOX: decoupled, without anchors (Ge et al., 2021, arXiv:2107.08430)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.losses import YOLOXCriterion
from tutelage.losses.boxes import at_least_float32, corners
from tutelage.losses.cells import cells_of, decode_cells
from tutelage.models.blocks.activation import Activation, SiLU, parse_activation
from tutelage.models.blocks.conv import Conv
from tutelage.models.blocks.depthwise import DSConv
from tutelage.models.blocks.pointwise import PointwiseConv2d
from tutelage.models.heads.head import Head
from tutelage.structures import Predictions

PRIOR = 0.01
"""The probability of objectness and classes that a fresh head gives."""


class YOLOXHead(Head):
    """Predict one box per cell: x, y, w, h and objectness in one branch, classes in another.

    Args:
        channels: Channels of each input map; the branches are as wide as the first.
        strides: Pixels per cell of each input map.
        classes: Number of classes.
        family: Not used.
        depthwise: Whether the 3 x 3 convolutions are depthwise-separable.
        activation: Makes the activations.
    """

    keeps_width: ClassVar[bool] = False
    unused_settings: ClassVar[frozenset[str]] = frozenset(LossConfig.model_fields)

    def __init__(
        self,
        channels: Sequence[int],
        *,
        strides: Sequence[int],
        classes: int,
        family: str,
        depthwise: bool = False,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        del family
        self.strides, self.classes = tuple(strides), classes
        width, block = channels[0], DSConv if depthwise else Conv

        def branch() -> nn.Sequential:
            return nn.Sequential(*(block(width, width, 3, activation=activation) for _ in range(2)))

        def outputs(number: int) -> nn.ModuleList:
            return nn.ModuleList(PointwiseConv2d(width, number, 1) for _ in channels)

        self.cls_convs = nn.ModuleList(branch() for _ in channels)
        self.reg_convs = nn.ModuleList(branch() for _ in channels)
        self.cls_preds, self.reg_preds, self.obj_preds = map(outputs, (classes, 4, 1))
        self.stems = nn.ModuleList(Conv(c, width, 1, activation=activation) for c in channels)
        for conv in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(cast("Tensor", conv.bias), -math.log(1 / PRIOR - 1))

    @classmethod
    def read_options(
        cls,
        arch: Mapping[str, Any],
        levels: int,  # noqa: ARG003
        faults: list[str],
    ) -> dict[str, Any]:
        """Read ``depthwise``, true or false, and ``activation``; there are no ``anchors``."""
        if arch.get("anchors") is not None:
            faults.append("anchors: YOLOXHead has none, drop this key")
        depthwise = arch.get("depthwise", False)
        if not isinstance(depthwise, bool):
            faults.append(f"depthwise must be true or false, got {depthwise!r}")
        options: dict[str, Any] = {"depthwise": depthwise is True}
        with suppress(ValueError):  # a fault of the graph, which is named there
            if arch.get("activation") is not None:
                options["activation"] = parse_activation(str(arch["activation"]))
        return options

    @classmethod
    def outputs(cls, classes: int, **options: Any) -> int:  # noqa: ARG003
        """Return the output channels per cell."""
        return 5 + classes

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Each level's ``(b, c, ny, nx)`` map to ``(b, 1, ny, nx, 5 + classes)`` logits."""
        return tuple(self._level(i, x) for i, x in enumerate(features))

    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        """Decode ``(b, 1, ny, nx, 5 + c)`` per level; ordered by level, row, column."""
        values = torch.cat([at_least_float32(level).flatten(1, 3) for level in raw], 1)
        box, objectness, logits = values.split((4, 1, values.shape[-1] - 5), -1)
        sizes = [level.shape[2] * level.shape[3] for level in raw]
        return Predictions(
            xyxy=corners(decode_cells(box, cells_of(raw, self.strides))),
            logits=logits,
            objectness=objectness.squeeze(-1),
            level=torch.cat([torch.full((n,), i, device="cpu") for i, n in enumerate(sizes)]),
            box_raw=box,
            grids=tuple((level.shape[2], level.shape[3]) for level in raw),
        )

    def criterion(self, config: LossConfig, *, image_size: int) -> YOLOXCriterion:
        """Return the loss of YOLOX, which has constants of its own instead of settings."""
        del config, image_size
        return YOLOXCriterion(self.strides, self.classes)

    def _level(self, level: int, x: Tensor) -> Tensor:
        x = self.stems[level](x)
        box = self.reg_convs[level](x)
        parts = (
            self.reg_preds[level](box),
            self.obj_preds[level](box),
            self.cls_preds[level](self.cls_convs[level](x)),
        )
        return torch.cat(parts, 1).permute(0, 2, 3, 1)[:, None].contiguous()
