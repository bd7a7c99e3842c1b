"""Masked Generative Distillation."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tutelage.config.schema import Positive
from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.structures import Targets


class MGD(LevelMethod):
    """Generate the teacher's features from the student's masked features.

    Yang et al., *Masked Generative Distillation*, ECCV 2022, arXiv:2205.01529. The squared
    difference is a sum over channels and cells and a mean over images. The mask is drawn from
    torch's generator, which a run seeds at every step.

    Args:
        channels: Student and teacher channels per pair of maps.
        alpha: Weight.
        lam: Share of the cells (or channels) that is masked.
        channelwise: Mask channels instead of cells.
    """

    paper = "Yang et al., ECCV 2022, arXiv:2205.01529"

    def __init__(
        self,
        channels: Channels,
        *,
        alpha: Positive = 2e-5,
        lam: Annotated[float, Field(ge=0, lt=1)] = 0.65,
        channelwise: bool = False,
    ) -> None:
        super().__init__(channels)
        self.alpha, self.lam, self.channelwise = alpha, lam, channelwise

    def make_level(self, channels: int) -> nn.Module:
        """Make the generator of one pair."""
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        b, c, h, w = s.shape
        keep = self.draw_mask((b, c, 1, 1) if self.channelwise else (b, 1, h, w), s)
        error = F.mse_loss(module(s * keep), t, reduction="sum")
        return {"generation": self.alpha / b * error}

    def draw_mask(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw a mask: 0 for the share that is masked, 1 for the rest."""
        return (torch.rand(shape, device=like.device) < 1 - self.lam).to(like.dtype)
