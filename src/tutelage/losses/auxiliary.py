"""The detection loss of YOLOv7 heads with auxiliary levels (Wang et al., arXiv:2207.02696, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tutelage.losses.anchor_criterion import AnchorCriterion
from tutelage.losses.assigner import AROUND
from tutelage.structures import Targets

WEIGHT = 0.25
"""Of the auxiliary terms."""


class AuxiliaryCriterion(AnchorCriterion):
    """Anchor loss whose lead levels guide the auxiliary ones, from coarse to fine.

    Both are assigned by SimOTA from what the lead levels predict: the lead levels as usual, the
    auxiliary ones among more candidates (all four neighbours of a box's own cell). The terms are
    those of the lead levels plus a quarter of those of the auxiliary ones.
    """

    pool: ClassVar[int] = 20

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms of a batch.

        Args:
            raw: Logits ``(b, na, ny, nx, 5 + classes)`` of the lead levels, then of the auxiliary
                ones; or of the lead levels alone, as heads answer in evaluation.
            targets: The boxes, in pixels of the canvas.
            image_size: Height and width of the canvas in pixels.

        Raises:
            ValueError: As :meth:`AnchorCriterion.forward`.
        """
        levels = len(self.strides)
        lead, auxiliary = raw[:levels], raw[levels:]
        terms = super().forward(lead, targets, image_size)
        if not auxiliary:
            return terms
        self._check(auxiliary, image_size)
        with torch.autocast(raw[0].device.type, enabled=False):
            extra = self.terms(auxiliary, targets, self.match(lead, targets, reach=AROUND))
        return {
            name: value + WEIGHT * self.gains[name] * extra[name] for name, value in terms.items()
        }

    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """As :meth:`AnchorCriterion.answers`, of the lead levels."""
        return super().answers(raw[: len(self.strides)], targets)
