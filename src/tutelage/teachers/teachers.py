"""The teachers of a run as one function from images to what each of them knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from tutelage.structures import Knowledge
from tutelage.teachers.teacher import Teacher


class Teachers:
    """One or several teachers that are shown the same images.

    Args:
        teachers: The teachers, in the order of the run.
        predictions: Per teacher, whether its predictions are needed; otherwise it may stop at its
            last tap.
    """

    def __init__(self, teachers: Sequence[Teacher], predictions: Sequence[bool]) -> None:
        self.teachers = tuple(teachers)
        self._predictions = tuple(predictions)
        if len(self.teachers) != len(self._predictions):
            raise ValueError(f"{len(self.teachers)} teachers, {len(self._predictions)} needs")

    @property
    def stride(self) -> int:
        """Both sides of the images must be multiples of this for every teacher."""
        return math.lcm(*(teacher.stride for teacher in self.teachers))

    def __call__(
        self, images: Tensor, asked: Mapping[int, bool] | None = None
    ) -> tuple[Knowledge, ...]:
        """Return what each teacher knows about images.

        Args:
            images: ``(b, 3, h, w)``.
            asked: The numbers of the teachers to ask, and whether for predictions; the others rest
                and know nothing. None: all, for what is needed.
        """
        wanted = dict(enumerate(self._predictions)) if asked is None else asked
        return tuple(
            teacher(images, predictions=wanted[number]) if number in wanted else Knowledge(())
            for number, teacher in enumerate(self.teachers)
        )

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers of all teachers by name."""
        for number, teacher in enumerate(self.teachers):
            for name, tensor in teacher.state():
                yield f"{number}.{name}", tensor

    def size(self, number: int) -> int:
        """Count the floating-point numbers that a teacher holds."""
        state = self.teachers[number].state()
        return sum(tensor.numel() for _, tensor in state if torch.is_floating_point(tensor))
