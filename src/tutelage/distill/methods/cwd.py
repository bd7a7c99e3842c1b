"""Channel-wise distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.config.schema import Positive
from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.structures import Targets


class CWD(LevelMethod):
    """Imitate the spatial distribution of each channel.

    Shu et al., *Channel-wise Knowledge Distillation for Dense Prediction*, ICCV 2021,
    arXiv:2011.13256. The divergence between softmaxes over the cells: a sum over cells, a mean over
    images and channels, times the square of the temperature.

    Args:
        channels: Student and teacher channels per pair of maps.
        temperature: Divides the activations; the smaller, the sharper.
        normalise: Standardise every channel over the batch first, on both sides, so that the
            temperature means the same for all maps.
    """

    paper = "Shu et al., ICCV 2021, arXiv:2011.13256"
    ratio = 3.0
    connector_bias = False  # the softmax ignores it

    def __init__(
        self, channels: Channels, *, temperature: Positive = 1.0, normalise: bool = False
    ) -> None:
        super().__init__(channels)
        self.temperature, self.normalise = temperature, normalise

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        if self.normalise:
            s, t = (F.batch_norm(x, None, None, training=True) for x in (s, t))
        log_s, log_t = (F.log_softmax(x.flatten(2) / self.temperature, 2) for x in (s, t))
        divergence = F.kl_div(log_s, log_t, reduction="sum", log_target=True)
        return {"channel": self.temperature**2 / (s.shape[0] * s.shape[1]) * divergence}
