"""What a distillation method is: a module from two knowledges to named losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Flag, auto
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.distill.connector import Connector
from tutelage.structures import Knowledge, Targets

Channels = Sequence[tuple[int, int]]
"""Student and teacher channels of each pair of maps."""
Side = Literal["student", "teacher"]


class Need(Flag):
    """What a method reads of a network; it decides how far a teacher has to run.

    CLASSES: it compares class by class, so the columns of both must mean the same.
    """

    FEATURES = auto()
    PREDICTIONS = auto()
    CLASSES = auto()


class Method(nn.Module, ABC):
    """A distillation loss with whatever it trains.

    A subclass takes ``channels`` and then keyword-only options, typed and with defaults: they are
    its configuration schema. Its docstring names its reduction over cells, channels and images.

    Args:
        channels: Student and teacher channels per pair of tapped maps.

    Attributes:
        needs: What it reads of student and teacher.
        still: Endings of the names of own parameters whose gradient is zero by construction.
        paper: Where it was published.
        ratio: With ``weight: auto``, how many times those of the detection loss its gradients at
            the taps are to be; of the built-in ones what docs/benchmarks.md found best.
    """

    needs: Need = Need.FEATURES
    still: frozenset[str] = frozenset()
    paper: str = ""
    ratio: float = 1.0

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        del channels

    @abstractmethod
    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compare what two networks know about a batch.

        Args:
            student: Differentiable.
            teacher: A constant.
            targets: The boxes of the batch; there may be none.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Named scalars, each a mean over the images, the method's own factors applied. All are
            connected to the student's graph, whatever the batch holds.
        """

    def moving(self) -> dict[str, nn.Parameter]:
        """Return the own trainable parameters by name, without those that are ``still``."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.endswith(tuple(self.still))
        }


class LevelMethod(Method):
    """A method that compares one pair of maps at a time and sums over the pairs.

    Half-precision maps are raised to float32 and autocast is off inside: sums of squares over a
    map exceed the range of float16, and its precision is too coarse for 1/area weights. float64
    stays.

    Args:
        channels: Student and teacher channels per pair.

    Attributes:
        balance: ``(pairs,)`` weights of the pairs; all 1 unless they are measured.
    """

    balance: Tensor

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        # Not in the state dict, which holds what is learnt; a run keeps it beside the weights.
        self.register_buffer("balance", torch.ones(len(channels)), persistent=False)
        self.connectors = nn.ModuleList(self.make_connector(s, t) for s, t in channels)
        self.levels = nn.ModuleList(self.make_level(t) for _, t in channels)

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make the map from student channels to teacher channels of one pair."""
        return Connector(student, teacher)

    def make_level(self, channels: int) -> nn.Module:
        """Make the trainable part of one pair, given the teacher's channels."""
        del channels
        return nn.Identity()

    @abstractmethod
    def level(
        self,
        module: nn.Module,
        s: Tensor,
        t: Tensor,
        targets: Targets,
        image_size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Compare one pair.

        Args:
            module: What :meth:`make_level` made for it.
            s: ``(b, c, h, w)`` student's map behind its connector.
            t: ``(b, c, h, w)`` teacher's map, detached.
            targets: The boxes of the batch.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Named scalars, each a mean over the images.
        """

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compare all pairs; every term is their weighted sum.

        Raises:
            ValueError: The numbers of maps or their grids differ.
        """
        if not len(student.features) == len(teacher.features) == len(self.levels):
            raise ValueError(
                f"expected {len(self.levels)} maps of each network, but got "
                f"{len(student.features)} of the student, {len(teacher.features)} of the teacher"
            )
        totals: dict[str, Tensor] = {}
        for number, (connector, module) in enumerate(
            zip(self.connectors, self.levels, strict=True)
        ):
            s, t = student.features[number], teacher.features[number]
            if s.shape[-2:] != t.shape[-2:]:
                raise ValueError(
                    f"pair {number}: the student's grid is {tuple(s.shape[-2:])}, "
                    f"the teacher's {tuple(t.shape[-2:])}"
                )
            with torch.autocast(s.device.type, enabled=False):
                connected = connector(at_least_float32(s))
                constant = at_least_float32(t.detach())
                terms = self.level(module, connected, constant, targets, image_size)
            for name, value in terms.items():
                weighted = self.balance[number] * value
                totals[name] = totals[name] + weighted if name in totals else weighted
        return totals


class Resized(Method):
    """Any method, on pairs of unequal stride: maps are brought to one grid (bilinear).

    Args:
        method: The method.
        channels: Student and teacher channels per pair.
        side: Whose maps are brought to the grid of the other network.
    """

    def __init__(self, method: Method, channels: Channels, side: Side = "student") -> None:
        super().__init__(channels)
        self.method = method
        self.side: Side = side
        widths = (pair[side == "teacher"] for pair in channels)
        self.grids = nn.ModuleList(Connector(width, width, resize=True) for width in widths)
        self.needs, self.still = method.needs, method.still
        self.paper, self.ratio = method.paper, method.ratio

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Resize the maps of one side, then compare."""
        moved, kept = student.features, teacher.features
        if self.side == "teacher":
            moved, kept = kept, moved
        features = tuple(
            grid(x, tuple(other.shape[-2:]))
            for grid, x, other in zip(self.grids, moved, kept, strict=True)
        )
        if self.side == "teacher":
            teacher = teacher._replace(features=features)
        else:
            student = student._replace(features=features)
        return self.method(student, teacher, targets, image_size)


def pairwise(method: nn.Module) -> LevelMethod | None:
    """Return the part of a method that sums over pairs of maps, if it does."""
    inner = method.method if isinstance(method, Resized) else method
    return inner if isinstance(inner, LevelMethod) else None


def at_least_float32(x: Tensor) -> Tensor:
    """Raise half precision to float32; leave float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
