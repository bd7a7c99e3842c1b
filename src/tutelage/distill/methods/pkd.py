"""Pearson-correlation distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.distill.connector import Connector
from tutelage.distill.method import HeightWidth, LevelMethod
from tutelage.structures import Targets

EPS = 1e-6
LEAST = 1e-2  # of the mean deviation; what varies less gets no larger gradient


class PKD(LevelMethod):
    """Imitate how maps vary, whatever their scale and offset.

    Cao et al., *PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient*, NeurIPS 2022, arXiv:2207.02039. Every channel is standardised over the images and
    cells of the batch; half the squared difference, a mean over images, channels and cells, which
    is one minus the correlation, times (n - 1) / n. The gradient of a student's channel that hardly
    varies, which grows without bound, is limited; the value is not.

    Args:
        channels: Student and teacher channels per pair of maps.
    """

    paper = "Cao et al., NeurIPS 2022, arXiv:2207.02039"
    ratio = 2.0

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Connect without a bias, which standardising would remove."""
        return Connector(student, teacher, bias=False)

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        return {"correlation": 0.5 * (standardised(s) - standardised(t)).square().mean()}


def standardised(x: Tensor) -> Tensor:
    """Give every channel of ``(b, c, h, w)`` mean 0 and unbiased deviation 1 over the batch.

    A constant channel becomes 0. The gradient goes as 1 / deviation, but no further than for a
    hundredth of the mean deviation: a dead channel would otherwise outdo all others together.
    """
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = centred.square().sum((0, 2, 3), keepdim=True) / max(x[:, 0].numel() - 1, 1)
    # The square root has no gradient at 0, which is where a constant channel is.
    varies = variance > 0
    deviation = torch.where(varies, variance, 1.0).sqrt() * varies
    known = deviation.detach()
    limit = ((known + EPS) / (LEAST * known.mean() + EPS)).clamp(max=1)
    found = centred / (deviation + EPS)
    return found.detach().lerp(found, limit.expand_as(found))  # its value, its gradient × limit
