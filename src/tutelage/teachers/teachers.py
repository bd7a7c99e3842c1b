"""The teachers of a run as one callable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from tutelage.structures import Batch, Knowledge
from tutelage.teachers.teacher import Teacher
from tutelage.teachers.timer import ForwardTimer


class Teachers:
    """One or several teachers that are given the same batches.

    Args:
        teachers: The teachers, in the order of the run.
        predictions: Per teacher, whether its predictions are needed; otherwise it may stop at its
            last tap.
        timer: Times the forward passes, for :meth:`take_cost`.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        predictions: Sequence[bool],
        timer: ForwardTimer | None = None,
    ) -> None:
        self.teachers = tuple(teachers)
        self._predictions, self._timer = tuple(predictions), timer
        if len(self.teachers) != len(self._predictions):
            raise ValueError(f"{len(self.teachers)} teachers, {len(self._predictions)} needs")

    def timed(self) -> Teachers:
        """Return the same teachers with a timer of their own."""
        return Teachers(self.teachers, self._predictions, ForwardTimer())

    @property
    def stride(self) -> int:
        """Both sides of the images must be multiples of this for every teacher."""
        return math.lcm(*(teacher.stride for teacher in self.teachers))

    def __call__(
        self, batch: Batch, wanted: Mapping[int, bool] | None = None
    ) -> tuple[Knowledge, ...]:
        """Return the knowledge of each teacher about a batch.

        Args:
            batch: A floating-point batch.
            wanted: The teachers to run by number, and whether predictions are needed; the others
                return empty knowledge. None: run all, with predictions where they are needed.
        """
        images = batch.images
        wanted = self.all_wanted() if wanted is None else wanted
        with self._timer.measure(images.device) if self._timer else nullcontext():
            return tuple(
                teacher(images, predictions=wanted[number]) if number in wanted else Knowledge(())
                for number, teacher in enumerate(self.teachers)
            )

    def all_wanted(self) -> dict[int, bool]:
        """Return all teachers by number, and whether their predictions are needed."""
        return dict(enumerate(self._predictions))

    @property
    def asked_share(self) -> float:
        """Share of the batches since the last :meth:`take_cost` about which a teacher was asked."""
        return 1.0

    def take_cost(self) -> dict[str, float]:
        """Return the cost since the last call; empty without a timed pass.

        Returns:
            ``teacher_gib`` of weights, and what :meth:`ForwardTimer.take` returns.
        """
        cost = self._timer.take() if self._timer else {}
        if not cost:
            return {}
        size = sum(tensor.numel() * tensor.element_size() for _, tensor in self.state())
        return {**cost, "teacher_gib": round(size / 2**30, 4)}

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers of all teachers by name."""
        for number, teacher in enumerate(self.teachers):
            for name, tensor in teacher.state():
                yield f"{number}.{name}", tensor

    def size(self, number: int) -> int:
        """Return the number of floating-point values that a teacher holds."""
        state = self.teachers[number].state()
        return sum(tensor.numel() for _, tensor in state if torch.is_floating_point(tensor))
