"""Imitation of features by their squared difference."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.structures import Targets


class FitNet(LevelMethod):
    """Imitate the features themselves.

    Romero et al., *FitNets: Hints for Thin Deep Nets*, ICLR 2015, arXiv:1412.6550: the squared
    difference of connected maps.

    Args:
        channels: Student and teacher channels per pair of maps.
        form: ``mean`` over images, channels and cells (of the same order for all maps);
            ``image``: a sum over channels and cells, a mean over images; ``normalised``: the same
            after every image's map was divided by its L2 norm.
    """

    paper = "Romero et al., ICLR 2015, arXiv:1412.6550"
    ratio = 2.0

    def __init__(
        self, channels: Channels, *, form: Literal["mean", "image", "normalised"] = "mean"
    ) -> None:
        super().__init__(channels)
        self.form: Literal["mean", "image", "normalised"] = form

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term of one pair."""
        if self.form == "normalised":
            s, t = (F.normalize(x.flatten(1)) for x in (s, t))
        error = F.mse_loss(s, t)
        return {"feature": error if self.form == "mean" else error * s[0].numel()}
