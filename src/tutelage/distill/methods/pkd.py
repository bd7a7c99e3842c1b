"""Pearson-correlation distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.distill.method import HeightWidth, LevelMethod
from tutelage.structures import Targets

EPS = 1e-6
MIN_DEVIATION = 1e-2  # of the mean deviation; bounds the gradient of channels that hardly vary


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


def standardise(x: Tensor) -> Tensor:
    """Return ``(b, c, h, w)`` with mean 0 and unbiased deviation 1 per channel over the batch.

    A constant channel becomes 0. The gradient is proportional to 1 / deviation, at most that of a
    hundredth of the mean deviation: a dead channel would otherwise dominate all others.
    """
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = centred.square().sum((0, 2, 3), keepdim=True) / max(x[:, 0].numel() - 1, 1)
    # The square root has an infinite gradient at 0, the variance of a constant channel.
    varies = variance > 0
    deviation = torch.where(varies, variance, 1.0).sqrt() * varies
    constant = deviation.detach()
    limit = ((constant + EPS) / (MIN_DEVIATION * constant.mean() + EPS)).clamp(max=1)
    result = centred / (deviation + EPS)
    return result.detach().lerp(result, limit.expand_as(result))  # the value, the gradient × limit
