"""Focal and Global Distillation."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.config.schema import NonNegative, Positive
from tutelage.distill.attention import attention
from tutelage.distill.connector import Connector
from tutelage.distill.masks import object_masks
from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.distill.standardise import standardise
from tutelage.structures import Targets


class FGD(LevelMethod):
    """Imitate the teacher inside and outside objects, its attention, and its global relations.

    Yang et al., *Focal and Global Knowledge Distillation for Detectors*, CVPR 2022,
    arXiv:2111.11837. All terms are sums over channels and cells and means over images; the
    foreground weighs every box equally, whatever its size.

    Args:
        channels: Student and teacher channels per pair of maps.
        temperature: Of the attention; the smaller, the sharper.
        alpha: Weight of the foreground.
        beta: Weight of the background.
        gamma: Weight of the difference in attention.
        lam: Weight of the global relation. It sums over cells: scale it down for larger maps.
        standardise: Compare maps whose channels have mean 0 and deviation 1 over the batch, as PKD
            does: what varies, not how large it is (docs/benchmarks.md). False: as published.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: All four weights are 0.
    """

    paper = "Yang et al., CVPR 2022, arXiv:2111.11837"
    ratio = 1.0
    untrained = frozenset({"student.mask.bias", "teacher.mask.bias"})  # softmax ignores a constant

    def __init__(
        self,
        channels: Channels,
        *,
        temperature: Positive = 0.5,
        alpha: NonNegative = 1e-3,
        beta: NonNegative = 5e-4,
        gamma: NonNegative = 1e-3,
        lam: NonNegative = 5e-6,
        standardise: bool = True,
    ) -> None:
        self.standardise = standardise
        super().__init__(channels)
        if not any((alpha, beta, gamma, lam)):
            raise ValueError("alpha, beta, gamma and lam are all 0: nothing is compared")
        if not lam:  # the context blocks would get no gradient
            self.levels = nn.ModuleList(nn.Identity() for _ in channels)
        self.temperature = temperature
        self.alpha, self.beta, self.gamma, self.lam = alpha, beta, gamma, lam

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make a connector, without the bias that standardising would remove."""
        return Connector(student, teacher, bias=not self.standardise)

    def make_level(self, channels: int) -> nn.Module:
        """Make one context block for the student's map and one for the teacher's."""
        return nn.ModuleDict(
            {"student": GlobalContext(channels), "teacher": GlobalContext(channels)}
        )

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the terms of one pair."""
        if self.standardise:
            s, t = standardise(s), standardise(t)
        b, _, h, w = s.shape
        masks = object_masks(targets, b, (h, w), image_size, dtype=s.dtype)
        foreground, background = (mask.flatten(1) for mask in masks)
        s_spatial, s_channel = attention(s, self.temperature)
        t_spatial, t_channel = attention(t, self.temperature)

        # Memory traffic dominates: one map of squared differences, and one product that sums it
        # over channels with and without the teacher's attention.
        s_cells, t_cells = _cells(s), _cells(t)
        weights = torch.cat([t_channel, torch.ones_like(t_channel)], 2).flatten(2)
        errors = torch.bmm(F.mse_loss(s_cells, t_cells, reduction="none"), weights)
        focal = errors[..., 0] * t_spatial.flatten(1)
        attentive = (s_channel - t_channel).abs().sum() + (s_spatial - t_spatial).abs().sum()
        terms = {
            "foreground": (self.alpha, (focal * foreground).sum()),
            "background": (self.beta, (focal * background).sum()),
            "attention": (self.gamma, attentive),
        }
        if self.lam:
            # The context blocks add a constant δ to all cells, so that no further map is needed:
            # Σ (d + δ)² = Σ d² + δ (2 Σ d + cells · δ).
            context = cast("nn.ModuleDict", module)
            shift = context["student"](s) - context["teacher"](t)
            summed = s_cells.sum(1) - t_cells.sum(1)
            relation = errors[..., 1].sum() + (shift * (2 * summed + h * w * shift)).sum()
            terms["relation"] = (self.lam, relation)
        return {name: weight / b * value for name, (weight, value) in terms.items() if weight}


class GlobalContext(nn.Module):
    """The context block of GCNet (Cao et al., 2019): attention pooling and a bottleneck.

    The last layer is initialised to zero.

    Args:
        channels: Channels c of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.mask = nn.Linear(channels, 1)
        self.transform = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.mask.bias)
        last = cast("nn.Linear", self.transform[3])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the block adds to every cell of ``x`` ``(b, c, h, w)``: ``(b, c)``."""
        cells = _cells(x)
        weight = F.softmax(self.mask(cells), dim=1)
        return self.transform(torch.bmm(weight.transpose(1, 2), cells).squeeze(1))


def _cells(x: Tensor) -> Tensor:
    """View ``(b, c, h, w)`` as ``(b, h·w, c)``; contiguous if ``x`` is channels-last."""
    return x.flatten(2).transpose(1, 2)
