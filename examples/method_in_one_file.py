"""A method of distillation in one file.

    tutelage train … --teacher-weights teacher.pt --method method_in_one_file:BoxCosine

from the folder of this file; with options ``--method method_in_one_file:BoxCosine:background=1``.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.distill import LevelMethod
from tutelage.distill.masks import object_masks
from tutelage.structures import Targets


class BoxCosine(LevelMethod):
    """Imitate the direction of the features of each cell, most of all inside objects.

    One minus the cosine between the features of both networks in a cell. Inside objects a sum over
    cells that counts every box alike, small or large; outside a mean over cells; both a mean over
    images.

    Args:
        channels: Student and teacher channels per pair of maps.
        background: Weight of the cells outside objects.
    """

    ratio = 2.0  # how strongly it pulls, as a multiple of the detection loss, unless --ratio says

    def __init__(self, channels: list[tuple[int, int]], *, background: float = 0.5) -> None:
        super().__init__(channels)
        self.background = background

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compare one pair of maps ``(b, c, h, w)``; the student's has passed its connector."""
        h, w = s.shape[-2:]
        inside, outside = object_masks(targets, len(s), (h, w), image_size)  # (b, 1, h, w)
        distance = 1 - F.cosine_similarity(s, t, dim=1)[:, None]
        return {
            "objects": (inside * distance).sum((1, 2, 3)).mean(),
            "background": self.background * (outside * distance).sum((1, 2, 3)).mean(),
        }
