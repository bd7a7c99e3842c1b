"""What a detection head owns: channel rule, decoding, loss, and the state of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.losses.criterion import Criterion
from tutelage.structures import Predictions

AnchorSearch = Callable[[Tensor, Sequence[int]], tuple[Tensor | None, str]]
"""From ``(levels, a, 2)`` anchors in pixels and strides to better anchors or None, and a report."""


class Head(nn.Module, ABC):
    """The last row of a graph. Nothing above it knows which kind of head it is.

    A new family is one subclass and one line in ``HEADS``. It is made as
    ``Head(channels, strides=, classes=, family=, **options)``.

    Attributes:
        arguments: The arguments of its row in a yaml.
        keeps_width: Whether rows of just the width of its outputs are never scaled.
        unused_settings: Names of the section ``loss`` that its criterion does not read.
        maps_per_level: How many input maps a level has: 2 with auxiliary ones.
        coding_buffers: Names of the buffers that define what its outputs mean, e.g. anchors.
            Weights of another model start a head without them.
        fixed_candidates: Whether its candidates are the same whatever maps it reads. If not, what
            it makes of the maps of another network cannot be compared one by one.
        candidates_per_cell: How many it has at each cell of a level: 1, or the anchors of a level.
        strides: Pixels per cell of each level.
        classes: Number of classes.
    """

    arguments: ClassVar[tuple[str, ...]] = ("nc",)
    keeps_width: ClassVar[bool] = True
    unused_settings: ClassVar[frozenset[str]] = frozenset()
    maps_per_level: ClassVar[int] = 1
    coding_buffers: ClassVar[frozenset[str]] = frozenset()
    fixed_candidates: ClassVar[bool] = True
    candidates_per_cell: int = 1

    strides: tuple[int, ...]
    classes: int

    @classmethod
    def read_options(
        cls, arch: Mapping[str, Any], levels: int, faults: list[str]
    ) -> dict[str, Any]:
        """Read the keys of a model yaml that belong to this head; it has none by default.

        Args:
            arch: The yaml mapping.
            levels: Number of pyramid levels; 0 if the rows have faults.
            faults: Gets a line for whatever cannot be used.

        Returns:
            Keyword arguments of the constructor.
        """
        return {}

    @classmethod
    @abstractmethod
    def outputs(cls, classes: int, **options: Any) -> int:
        """Return the output channels per cell."""

    @abstractmethod
    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Map the features of each level to its raw output, batch first.

        Maps of auxiliary levels follow those of the lead levels and are given in training only.
        """

    @abstractmethod
    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        """Decode the raw outputs of the lead levels, differentiably and at least in float32."""

    def decode_rows(self, raw: Sequence[Tensor]) -> Tensor:
        """Decode to the rows of YOLOv5 and YOLOv7.

        Returns:
            ``(b, n, 5 + c)``: cx, cy, w, h in pixels, objectness (1 without) and class
            probabilities.
        """
        decoded = self.decode(raw)
        (x1, y1, x2, y2), scores = decoded.xyxy.unbind(-1), decoded.logits.sigmoid()
        box = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1)
        objectness = decoded.objectness
        known = torch.ones_like(x1) if objectness is None else objectness.sigmoid()
        return torch.cat((box, known[..., None], scores), -1)

    @abstractmethod
    def criterion(self, config: LossConfig, *, image_size: int) -> Criterion:
        """Return the detection loss of this head.

        Args:
            config: Gains and constants.
            image_size: Side of the training images in pixels.

        Raises:
            ConfigError: The settings do not fit this head.
        """

    def training_state(self) -> dict[str, Any]:
        """Return what was settled before the first step, as keys of the model yaml."""
        return {}

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`training_state` returned."""

    def fit_anchors(self, search: AnchorSearch) -> str:
        """Adapt to the boxes of a data set, if this head has anchors.

        Returns:
            What was done, for the plan; empty if there is nothing to adapt.
        """
        return ""

    @classmethod
    def complete_mapping(
        cls, arch: dict[str, Any], state: Mapping[str, Tensor], prefix: str, strides: Sequence[int]
    ) -> None:
        """Add to a model yaml what only the tensors of its weight file say.

        Args:
            arch: The yaml mapping; changed in place.
            state: Tensors of the file.
            prefix: Of the head's keys, e.g. ``model.77``.
            strides: Strides as stored in the file, or empty.
        """

    def complete_state(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """Return a state with the buffers of this head that not every release stored."""
        return dict(state)
