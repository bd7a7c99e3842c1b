"""Feature-Richness Score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.config.schema import NonNegative, Positive
from tutelage.distill.method import Channels, HeightWidth, Need
from tutelage.distill.response import comparable_predictions
from tutelage.distill.scores import (
    ScoredMethod,
    candidate_scores,
    classes_trained,
    level_counts,
    weighted_mean,
)
from tutelage.structures import Knowledge, Targets


class FRS(ScoredMethod):
    """Imitate maps and class probabilities, weighted by the teacher's scores.

    Du et al., *Distilling Object Detectors with Feature Richness*, NeurIPS 2021, arXiv:2111.00674.
    Per level a sum over channels, or classes, and a mean over the cells, or candidates, of all
    images, weighted by the teacher's score; then a sum over levels. The class term is a
    cross-entropy: its least value is the teacher's entropy, not 0.

    Args:
        channels: Student and teacher channels per pair of maps, which are those the head reads.
        feature: Weight of the maps. It sums over channels: scale it down for wider maps.
        classes: Weight of the class probabilities (0 leaves them out).
    """

    needs = ScoredMethod.needs | Need.CLASSES
    paper = "Du et al., NeurIPS 2021, arXiv:2111.00674"

    def __init__(
        self, channels: Channels, *, feature: Positive = 0.005, classes: NonNegative = 0.02
    ) -> None:
        super().__init__(channels)
        self.feature, self.classes = feature, classes

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make a 3×3 convolution, also between equal widths."""
        return nn.Conv2d(student, teacher, 3, padding=1)

    def compare_maps(self, s: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Compare one pair of maps."""
        return self.feature * weighted_mean((s - t).square().sum(1, keepdim=True), score)

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare all pairs of maps and all candidates.

        Raises:
            ValueError: Maps, candidates or classes do not fit.
        """
        s, t = comparable_predictions(student, teacher)
        terms = super().forward(student, teacher, targets, image_size)
        if not self.classes or not classes_trained(s):
            return terms
        with torch.autocast(s.logits.device.type, enabled=False):
            losses = F.binary_cross_entropy_with_logits(
                s.logits, t.logits.sigmoid(), reduction="none"
            ).sum(-1)
            counts = level_counts(t)
            levels = zip(losses.split(counts, 1), candidate_scores(t).split(counts, 1), strict=True)
            total = torch.stack([weighted_mean(*level) for level in levels]).sum()
        return terms | {"class": self.classes * total}
