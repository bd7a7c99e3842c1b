"""Similarity-preserving distillation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.structures import Targets


class SPKD(LevelMethod):
    """Imitate the similarities between the images of the batch.

    Tung and Mori, *Similarity-Preserving Knowledge Distillation*, ICCV 2019, arXiv:1907.09682. The
    squared difference of the images' products with each other, rows at unit length; a mean over
    the pairs of images. It depends on the batch: with one image the term is 0.

    Args:
        channels: Student and teacher channels per pair of maps; they may differ.
        pooled: Average over cells first.
    """

    paper = "Tung and Mori, ICCV 2019, arXiv:1907.09682"

    def __init__(self, channels: Channels, *, pooled: bool = False) -> None:
        super().__init__(channels)
        self.pooled = pooled

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Return the identity: widths may differ, since images are multiplied."""
        return nn.Identity()

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        return {"similarity": F.mse_loss(self._similarity(s), self._similarity(t))}

    def _similarity(self, x: Tensor) -> Tensor:
        rows = x.mean((2, 3)) if self.pooled else x.flatten(1)
        return F.normalize(rows @ rows.T)
