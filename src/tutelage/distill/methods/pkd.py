"""Pearson-correlation distillation."""

from __future__ import annotations

from torch import Tensor, nn

from tutelage.distill.method import HeightWidth, LevelMethod
from tutelage.distill.standardise import standardise
from tutelage.structures import Targets


class PKD(LevelMethod):
    """Imitate maps up to the scale and offset of their channels.

    Cao et al., *PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient*, NeurIPS 2022, arXiv:2207.02039. Every channel is standardised over the images and
    cells of the batch; half the squared difference, a mean over images, channels and cells, which
    is one minus the correlation, times (n - 1) / n. The gradient of a student's channel that hardly
    varies, which is unbounded, is limited; the value is not.

    Args:
        channels: Student and teacher channels per pair of maps.
    """

    paper = "Cao et al., NeurIPS 2022, arXiv:2207.02039"
    ratio = 2.0
    connector_bias = False  # standardising would remove it

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        return {"correlation": 0.5 * (standardise(s) - standardise(t)).square().mean()}
