"""Score-weighted L2."""

from __future__ import annotations

from torch import Tensor, nn

from tutelage.config.schema import Positive
from tutelage.distill.method import Channels
from tutelage.distill.scores import ScoredMethod, weighted_mean


class ScoreWeightedL2(ScoredMethod):
    """Imitate the maps that the head reads, weighted by the teacher's scores.

    Published as a setting of Ultralytics 8.4, without a paper; it is the feature term of FRS
    (arXiv:2111.00674) with a deeper connector. Per level a mean over channels and over the cells
    of all images, weighted by the teacher's score; then a sum over levels.

    Args:
        channels: Student and teacher channels per pair of maps, which are those the head reads.
        scale: Factor of the loss, which depends on the variance of the teacher's maps.
    """

    paper = "no paper; feature term of FRS, Du et al., NeurIPS 2021, arXiv:2111.00674"

    def __init__(self, channels: Channels, *, scale: Positive = 6.0) -> None:
        super().__init__(channels)
        self.scale = scale

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make two 1×1 convolutions with a ReLU between them."""
        return nn.Sequential(
            nn.Conv2d(student, teacher, 1), nn.ReLU(), nn.Conv2d(teacher, teacher, 1)
        )

    def compare_maps(self, s: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Compare one pair of maps."""
        return self.scale * weighted_mean((s - t).square().mean(1, keepdim=True), score)
