"""The head of YOLOv7 W6 to E6E: lead levels, and auxiliary ones that only training needs.

The auxiliary convolutions see earlier maps and are taught by coarser assignments, so that the
layers before them learn sooner (Wang et al., arXiv:2207.02696, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.errors import ConfigError
from tutelage.losses import AnchorCriterion, AuxiliaryCriterion
from tutelage.models.blocks.pointwise import PointwiseConv2d
from tutelage.models.heads.implicit import IDetect


class IAuxDetect(IDetect):
    """IDetect with a second, plain convolution per level for maps of its own.

    Args:
        channels: Channels of each input map: those of the lead levels, then the auxiliary ones.
        strides: Pixels per cell of each level.
        options: As in :class:`~tutelage.models.heads.anchor.Detect`.

    Attributes:
        m2: The auxiliary convolutions.
    """

    maps_per_level = 2
    criterion_type = AuxiliaryCriterion

    def __init__(self, channels: Sequence[int], *, strides: Sequence[int], **options: Any) -> None:
        lead, auxiliary = channels[: len(strides)], channels[len(strides) :]
        super().__init__(lead, strides=strides, **options)
        outputs = self.anchors.shape[1] * (5 + self.classes)
        self.m2 = nn.ModuleList(PointwiseConv2d(c, outputs, 1) for c in auxiliary)
        for name in ("ia", "im"):  # follow m2 in the official order of the state
            self.add_module(name, self._modules.pop(name))
        self._start_biases([cast("nn.Conv2d", conv) for conv in self.m2])

    def criterion(self, config: LossConfig, *, image_size: int) -> AnchorCriterion:
        """Return the loss of lead and auxiliary levels.

        Raises:
            ConfigError: ``assigner: anchor`` knows no auxiliary levels.
        """
        if self.assigner(config) != "ota":
            raise ConfigError(
                "The model has auxiliary levels, which only OTA assigns, but loss.assigner is "
                "anchor.",
                fix="Drop  loss.assigner  (loss_ota: 0 in a hyp file).",
                code="C30",
            )
        return super().criterion(config, image_size=image_size)

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`Detect.forward`: lead levels, then auxiliary ones if their maps are given."""
        levels = len(self.strides)
        lead, rest = super().forward(*features[:levels]), features[levels:]
        if not rest:
            return lead
        auxiliary = zip(self.m2, rest, strict=True)
        return lead + tuple(self._split(conv(x)) for conv, x in auxiliary)
