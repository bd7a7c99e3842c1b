"""What the loss of a detection head offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from tutelage.structures import Targets


class Criterion(nn.Module, ABC):
    """A detection loss: raw outputs of a head and the boxes of a batch to named terms.

    Its state dict is empty: what must be stored belongs to the head.
    """

    @abstractmethod
    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms of a batch.

        Args:
            raw: What the head returned in training, batch first.
            targets: The boxes, in pixels of the canvas.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Scalars by name with their gains, not multiplied by the batch size. All depend on
            ``raw``, with or without boxes.
        """

    def begin_epoch(self, *, closing: bool) -> None:
        """Prepare for an epoch of a training.

        Args:
            closing: It is one of the last epochs, without mosaic (``augment.close_mosaic``).
        """

    def describe(self) -> str:
        """Return how its terms are weighed, for the plan of a run; empty if they are not."""
        return ""

    @abstractmethod
    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """Return the box that each prediction is assigned to.

        Args:
            raw: As in :meth:`forward`.
            targets: Any boxes, those of the batch or others.

        Returns:
            ``(b, n)`` int64, a row of ``targets`` or -1 for none; predictions in the order in
            which the head decodes them.
        """
