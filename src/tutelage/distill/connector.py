"""The trainable map between the widths of student and teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Connector(nn.Module):
    """Make a student's map comparable with a teacher's: a 1×1 convolution, or nothing at all.

    It belongs to the method, not to the student: it is trained with it and left out of every
    checkpoint that is deployed.

    Args:
        student: Channels of the student's map.
        teacher: Channels of the teacher's map. Where they are equal the map passes unchanged.
        resize: Also bring the map to the teacher's grid (bilinear).
        bias: Whether the convolution adds a constant per channel; without effect on a method that
            ignores such constants, where nothing would train it.
    """

    def __init__(
        self, student: int, teacher: int, *, resize: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        same = student == teacher
        self.project = nn.Identity() if same else nn.Conv2d(student, teacher, 1, bias=bias)
        self.resize = resize

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Connect one map.

        Args:
            x: ``(b, student, h, w)``.
            grid: Height and width of the teacher's map; needed with ``resize`` only.

        Returns:
            ``(b, teacher, h, w)``, with ``resize`` on the teacher's grid.
        """
        x = self.project(x)
        if not self.resize:
            return x
        if grid is None:
            raise ValueError("a resizing connector needs the teacher's grid")
        if tuple(x.shape[-2:]) == tuple(grid):
            return x
        return F.interpolate(x, size=grid, mode="bilinear", align_corners=False)
