"""The detection loss of YOLOv9 (Wang et al., arXiv:2402.13616)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.losses.boxes import at_least_float32, centre_size, complete_iou
from tutelage.losses.criterion import Criterion
from tutelage.losses.side_distances import (
    boxes_around,
    cell_centres,
    distances_to,
    mean_distance,
)
from tutelage.losses.task_aligned import MARGIN, Assignment, task_aligned
from tutelage.structures import Targets

GAINS = {"box": 7.5, "dfl": 1.5, "cls": 0.5}
AUXILIARY = 0.25
"""Weight of the terms of auxiliary levels."""


class _Values(NamedTuple):
    """What a head predicts, in one row per cell.

    Attributes:
        bins: ``(b, n, 4, r)`` logits of the distances.
        logits: ``(b, n, c)`` class logits.
        centres: ``(n, 2)`` in cells.
        pixels: ``(n, 1)`` per cell.
        grids: Rows and columns of each level.
    """

    bins: Tensor
    logits: Tensor
    centres: Tensor
    pixels: Tensor
    grids: tuple[tuple[int, int], ...]


class DFLCriterion(Criterion):
    """Box, distribution and class loss of cells that the task-aligned assigner chooses.

    With the quality q of each match (its target score) and Q, the sum of all, at least 1:

    - ``box``: sum of q (1 - CIoU) / Q;
    - ``dfl``: sum of q times the cross-entropy of the two bins beside each distance, weighted by
      their nearness and averaged over the four sides, / Q;
    - ``cls``: binary cross-entropy with q at the class of the match and 0 elsewhere, summed over
      all cells and classes, / Q.

    The lead levels and the auxiliary ones are assigned and summed each on their own; the terms are
    those of the lead levels plus a quarter of the others, times the gains, which are those of
    MultimediaTechLab/YOLO; the settings of the anchor losses have no effect. Computed in float32
    whatever autocast says.

    Args:
        strides: Pixels per cell, per level.
        classes: Number of classes.
        bins: Bins of a distance.
    """

    def __init__(self, *, strides: Sequence[int], classes: int, bins: int) -> None:
        super().__init__()
        self.strides, self.classes, self.bins = tuple(strides), classes, bins

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms ``box``, ``dfl`` and ``cls``; see :meth:`Criterion.forward`.

        Args:
            raw: ``(b, 4 bins + classes, ny, nx)`` of the lead levels, then of the auxiliary ones
                if there are any.
            targets: The boxes, in pixels of the canvas.
            image_size: Height and width of the canvas in pixels.

        Raises:
            ValueError: If ``raw`` is not of these levels, bins, classes and this canvas.
        """
        levels = len(self.strides)
        lead, auxiliary = raw[:levels], raw[levels:]
        with torch.autocast(raw[0].device.type, enabled=False):
            terms = self._terms(lead, targets, image_size)
            if auxiliary:
                extra = self._terms(auxiliary, targets, image_size)
                terms = {name: value + AUXILIARY * extra[name] for name, value in terms.items()}
        return {name: GAINS[name] * value for name, value in terms.items()}

    def describe(self) -> str:
        """Return the gains."""
        return " · ".join(f"{name} {gain:g}" for name, gain in GAINS.items()) + " (as published)"

    @torch.no_grad()
    def match(self, raw: Sequence[Tensor], targets: Targets) -> Assignment:
        """Assign the predictions of the levels in ``raw`` to boxes."""
        with torch.autocast(raw[0].device.type, enabled=False):
            return self._match(self._values(raw), targets)

    @torch.no_grad()
    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """As :meth:`Criterion.answers`, of the lead levels; ordered by level, row, column."""
        lead = raw[: len(self.strides)]
        matches = self.match(lead, targets)
        cells = sum(level.shape[2] * level.shape[3] for level in lead)
        assigned = matches.target.new_full((len(lead[0]), cells), -1)
        assigned[matches.image, matches.cell] = matches.target
        return assigned

    def _terms(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        self._check(raw, image_size)
        values = self._values(raw)
        matches = self._match(values, targets)
        image, cell, quality = matches.image, matches.cell, matches.quality
        total = quality.sum().clamp(min=1)

        centres = values.centres[cell]
        wanted = targets.xyxy.to(centres)[matches.target] / values.pixels[cell]
        bins = values.bins[image, cell]
        found = boxes_around(centres, mean_distance(bins))
        iou = complete_iou(centre_size(found), centre_size(wanted))
        sides = distances_to(centres, wanted).clamp(0, self.bins - MARGIN)
        nearness = two_bin_entropy(bins, sides).mean(-1)

        scores = torch.zeros_like(values.logits)
        scores[image, cell, targets.label[matches.target]] = quality
        entropy = F.binary_cross_entropy_with_logits(values.logits, scores, reduction="sum")
        return {
            "box": ((1 - iou) * quality).sum() / total,
            "dfl": (nearness * quality).sum() / total,
            "cls": entropy / total,
        }

    def _match(self, values: _Values, targets: Targets) -> Assignment:
        with torch.no_grad():
            boxes = boxes_around(values.centres, mean_distance(values.bins)) * values.pixels
        return task_aligned(
            boxes,
            values.logits.detach(),
            targets,
            grids=values.grids,
            strides=self.strides,
            bins=self.bins,
        )

    def _values(self, raw: Sequence[Tensor]) -> _Values:
        rows = torch.cat([at_least_float32(level).flatten(2).transpose(1, 2) for level in raw], 1)
        distances, logits = rows.split((4 * self.bins, self.classes), -1)
        grids = tuple((level.shape[2], level.shape[3]) for level in raw)
        centres, pixels = cell_centres(grids, self.strides, rows)
        return _Values(distances.unflatten(-1, (4, self.bins)), logits, centres, pixels, grids)

    def _check(self, raw: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        height, width = image_size
        channels = 4 * self.bins + self.classes
        expected = [(channels, height // stride, width // stride) for stride in self.strides]
        found = [tuple(level.shape[1:]) for level in raw]
        if found != expected:
            raise ValueError(
                f"expected raw outputs (b, 4 bins + classes, ny, nx) with {expected} after the "
                f"batch dimension for an image of {height} x {width}, got {found}"
            )


def two_bin_entropy(bins: Tensor, distances: Tensor) -> Tensor:
    """Return the cross-entropy with the two bins beside each distance, weighted by nearness.

    Distribution focal loss: Li et al., NeurIPS 2020, arXiv:2006.04388.

    Args:
        bins: ``(..., r)`` logits.
        distances: ``(...)`` in 0 to less than r - 1.

    Returns:
        ``(...)``.
    """
    below = distances.floor()
    above = distances - below
    logs = bins.log_softmax(-1)
    pair = torch.stack((below, below + 1), -1).long()
    chosen = logs.gather(-1, pair)
    return -(chosen[..., 0] * (1 - above) + chosen[..., 1] * above)
