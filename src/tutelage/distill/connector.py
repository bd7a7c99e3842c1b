"""The trainable projection from the width of the student to that of the teacher."""

from __future__ import annotations

from torch import Tensor, nn


class Connector(nn.Module):
    """A 1×1 convolution from the student's channels to the teacher's; the identity if equal.

    It belongs to the method, not to the student, so that no deployed checkpoint holds it.

    Args:
        student: Channels of the student's map.
        teacher: Channels of the teacher's map.
        bias: Whether the convolution has one; it has no gradient in methods that ignore a constant
            per channel.
    """

    def __init__(self, student: int, teacher: int, *, bias: bool = True) -> None:
        super().__init__()
        same = student == teacher
        self.project = nn.Identity() if same else nn.Conv2d(student, teacher, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project a map ``(b, student, h, w)`` to ``(b, teacher, h, w)``."""
        return self.project(x)
