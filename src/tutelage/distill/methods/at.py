"""Attention transfer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.structures import Targets


class AttentionTransfer(LevelMethod):
    """Imitate the magnitude of each cell, summed over channels.

    Zagoruyko and Komodakis, *Paying More Attention to Attention*, ICLR 2017, arXiv:1612.03928.
    A map's attention is the sum of its squares over channels, divided by its L2 norm over cells.

    Args:
        channels: Student and teacher channels per pair of maps; they may differ.
        form: ``paper``: the L2 norm of the difference over cells, a mean over images;
            ``mean``: its square, a mean over images and cells (published code), of order 1 / cells.
    """

    paper = "Zagoruyko and Komodakis, ICLR 2017, arXiv:1612.03928"
    ratio = 0.5

    def __init__(self, channels: Channels, *, form: Literal["paper", "mean"] = "paper") -> None:
        super().__init__(channels)
        self.form: Literal["paper", "mean"] = form

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Return the identity: widths may differ, since channels are summed."""
        return nn.Identity()

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        s, t = (F.normalize(x.square().sum(1).flatten(1)) for x in (s, t))
        squares = (s - t).square().sum(1)
        if self.form == "mean":
            return {"attention": squares.mean() / s.shape[1]}
        # The square root has an infinite gradient at 0: equal maps get a gradient of 0.
        equal = squares == 0
        lengths = torch.where(equal, 1.0, squares).sqrt()
        return {"attention": torch.where(equal, squares, lengths).mean()}
