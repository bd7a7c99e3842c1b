"""The anchor-free head of YOLOv9: a class score and four distributions per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.losses import DFLCriterion
from tutelage.losses.boxes import at_least_float32
from tutelage.losses.side_distances import boxes_around, cell_centres, mean_distance
from tutelage.models.blocks.conv import Conv
from tutelage.models.blocks.fold import Foldable
from tutelage.models.blocks.pointwise import PointwiseConv2d
from tutelage.models.fuse import fuse
from tutelage.models.heads.head import Head
from tutelage.structures import Predictions
from tutelage.weights.convert import Family

BINS = 16
_GROUPS = 4  # one per side of a box
_START_BOX, _START_CLASS = 1.0, -10.0


class _Level(nn.Module):
    """The box and the class branch of a level."""

    def __init__(self, channels: int, first: int, classes: int) -> None:
        super().__init__()
        for_box = max(-(-(first // 4) // _GROUPS) * _GROUPS, 4 * BINS)
        for_class = max(first, min(2 * classes, 128))
        self.box = nn.Sequential(
            Conv(channels, for_box, 3),
            Conv(for_box, for_box, 3, g=_GROUPS),
            nn.Conv2d(for_box, 4 * BINS, 1, groups=_GROUPS),
        )
        self.cls = nn.Sequential(
            Conv(channels, for_class, 3),
            Conv(for_class, for_class, 3),
            PointwiseConv2d(for_class, classes, 1),
        )
        with torch.no_grad():
            cast("Tensor", self.box[-1].bias).fill_(_START_BOX)
            cast("Tensor", self.cls[-1].bias).fill_(_START_CLASS)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c, ny, nx)`` to ``(b, 4 bins + classes, ny, nx)``."""
        return torch.cat((self.box(x), self.cls(x)), 1)


class DFLDetect(Head):
    """Predict, per cell, logits of 16 bins for each side of a box, and class logits.

    The distance from the centre of the cell to a side is the mean of its distribution, in cells.
    There is no objectness: the class scores are trained to be qualities.

    Args:
        channels: Channels of each input map.
        strides: Pixels per cell of each input map.
        classes: Number of classes.
        family: Not used.

    Attributes:
        lead: The branches of each level.
    """

    keeps_width: ClassVar[bool] = False
    unused_settings: ClassVar[frozenset[str]] = frozenset(LossConfig.model_fields)

    def __init__(
        self, channels: Sequence[int], *, strides: Sequence[int], classes: int, family: Family
    ) -> None:
        super().__init__()
        del family
        self.strides, self.classes = tuple(strides), classes
        self.lead = nn.ModuleList(_Level(c, channels[0], classes) for c in channels)

    @classmethod
    def read_options(
        cls, arch: Mapping[str, Any], levels: int, faults: list[str]
    ) -> dict[str, Any]:
        """Refuse ``anchors``, of which there are none."""
        del levels
        if arch.get("anchors") is not None:
            faults.append(f"anchors: {cls.__name__} has none, drop this key")
        return {}

    @classmethod
    def outputs(cls, classes: int, **options: Any) -> int:
        """Return the output channels per cell."""
        del options
        return 4 * BINS + classes

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Each level's ``(b, c, ny, nx)`` map to ``(b, 4 bins + classes, ny, nx)`` logits."""
        return tuple(level(x) for level, x in zip(self.lead, features, strict=True))

    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        """Decode ``(b, 4 bins + classes, ny, nx)`` per level; ordered by level, row, column."""
        rows = torch.cat([at_least_float32(level).flatten(2).transpose(1, 2) for level in raw], 1)
        distances, logits = rows.split((4 * BINS, self.classes), -1)
        bins = distances.unflatten(-1, (4, BINS))
        grids = tuple((level.shape[2], level.shape[3]) for level in raw)
        centres, pixels = cell_centres(grids, self.strides, rows)
        counts = [ny * nx for ny, nx in grids]
        return Predictions(
            xyxy=boxes_around(centres, mean_distance(bins)) * pixels,
            logits=logits,
            objectness=None,
            level=torch.cat([torch.full((n,), i, device="cpu") for i, n in enumerate(counts)]),
            bins=bins,
            grids=grids,
        )

    def criterion(self, config: LossConfig, *, image_size: int) -> DFLCriterion:
        """Return the loss, whose gains are the published ones."""
        del config, image_size
        return DFLCriterion(strides=self.strides, classes=self.classes, bins=BINS)


class AuxDFLDetect(DFLDetect, Foldable):
    """DFLDetect with a second set of branches, for maps that only training needs.

    Args:
        channels: Channels of each input map: those of the lead levels, then the auxiliary ones.
        strides: Pixels per cell of each level.
        classes: Number of classes.
        family: Not used.

    Attributes:
        auxiliary: The branches of each auxiliary level.
    """

    maps_per_level = 2

    def __init__(
        self, channels: Sequence[int], *, strides: Sequence[int], classes: int, family: Family
    ) -> None:
        lead, auxiliary = channels[: len(strides)], channels[len(strides) :]
        super().__init__(lead, strides=strides, classes=classes, family=family)
        self.auxiliary = nn.ModuleList(_Level(c, auxiliary[0], classes) for c in auxiliary)

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`DFLDetect.forward`: lead levels, then auxiliary ones if they are given."""
        branches = [*self.lead, *self.auxiliary][: len(features)]
        return tuple(level(x) for level, x in zip(branches, features, strict=True))

    def deployed(self) -> DFLDetect:
        """Return the head without auxiliary branches, its convolutions folded."""
        plain = DFLDetect((), strides=self.strides, classes=self.classes, family="yolov9")
        plain.lead = fuse(self.lead)
        return plain
