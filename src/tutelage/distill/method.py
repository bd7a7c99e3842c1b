"""The interface of a distillation method: a module from features and predictions to losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Flag, auto
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.distill.connector import Connector
from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Knowledge, Targets

Channels = Sequence[tuple[int, int]]
"""Student and teacher channels of each pair of maps."""
HeightWidth = tuple[int, int]
Side = Literal["student", "teacher"]


class Need(Flag):
    """What a method reads of a network; a teacher computes no more than that.

    CLASSES: it compares class by class, so the columns of both must mean the same.
    DISTRIBUTIONS: of its predictions, the distributions over the sides of boxes, too.
    """

    FEATURES = auto()
    PREDICTIONS = auto()
    CLASSES = auto()
    DISTRIBUTIONS = auto()


class Method(nn.Module, ABC):
    """A distillation loss with its trainable parts.

    A subclass takes ``channels`` and then keyword-only options, typed and with defaults: they are
    its configuration schema. Its docstring names its reduction over cells, channels and images.

    Args:
        channels: Student and teacher channels per pair of tapped maps.

    Attributes:
        needs: What it reads of student and teacher.
        untrained: Endings of the names of own parameters whose gradient is zero by construction.
        paper: Where it was published.
        from_store: What must be stored of a teacher's predictions so that the method can do
            without the teacher: the ``best`` candidates (it weighs them by the teacher's scores),
            ``all``; ``never``: it runs layers of the teacher.
        ratio: With ``weight: auto``, the ratio of the norms of its gradient and that of the
            detection loss at the taps; for the built-in methods the best in docs/benchmarks.md.
    """

    needs: Need = Need.FEATURES
    untrained: frozenset[str] = frozenset()
    paper: str = ""
    from_store: Literal["best", "all", "never"] = "all"
    ratio: float = 1.0

    def __init__(self, channels: Channels) -> None:
        super().__init__()

    @abstractmethod
    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare features or predictions of two networks on a batch.

        Args:
            student: Differentiable.
            teacher: Constant.
            targets: The boxes of the batch; there may be none.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Named scalars, each a mean over the images, the method's own factors applied. All are
            connected to the student's graph, whatever the batch holds.
        """

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return the own trainable parameters by name, without those that are ``untrained``."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.endswith(tuple(self.untrained))
        }


class LevelMethod(Method):
    """A method that compares one pair of maps at a time and sums over the pairs.

    Half-precision maps are cast to float32 and autocast is off: sums of squares over a map exceed
    the range of float16, and its precision is too coarse for 1/area weights. float64 stays.

    Args:
        channels: Student and teacher channels per pair.

    Attributes:
        balance: ``(pairs,)`` weights of the pairs; all 1 unless they are measured.
        connector_bias: Whether connectors have a bias.
    """

    balance: Tensor
    connector_bias: bool = True

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        # Not in the state dict, which holds trained parameters; a run saves it separately.
        self.register_buffer("balance", torch.ones(len(channels)), persistent=False)
        self.connectors = nn.ModuleList(self.make_connector(s, t) for s, t in channels)
        self.levels = nn.ModuleList(self.make_level(t) for _, t in channels)

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make the layer from student channels to teacher channels of one pair."""
        return Connector(student, teacher, bias=self.connector_bias)

    def make_level(self, channels: int) -> nn.Module:
        """Make the other trainable parts of one pair, given the teacher's channels."""
        return nn.Identity()

    @abstractmethod
    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare one pair.

        Args:
            module: What :meth:`make_level` made for it.
            s: ``(b, c, h, w)`` student's map after its connector.
            t: ``(b, c, h, w)`` teacher's map, detached.
            targets: The boxes of the batch.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Named scalars, each a mean over the images.
        """

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
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
        layers = zip(self.connectors, self.levels, strict=True)
        for number, (connector, module) in enumerate(layers):
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
    """A method on pairs of unequal stride: the maps of one network are resized (bilinear).

    Args:
        method: The method.
        channels: Student and teacher channels per pair.
        side: The network whose maps are resized to the grid of the other one.
    """

    def __init__(self, method: Method, channels: Channels, side: Side = "student") -> None:
        super().__init__(channels)
        self.method = method
        self.side: Side = side
        self.needs, self.untrained = method.needs, method.untrained
        self.paper, self.ratio = method.paper, method.ratio
        self.from_store = method.from_store

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Resize the maps of one side, then compare."""
        if self.side == "teacher":
            teacher = _resize_maps(teacher, student)
        else:
            student = _resize_maps(student, teacher)
        return self.method(student, teacher, targets, image_size)


def _resize_maps(knowledge: Knowledge, reference: Knowledge) -> Knowledge:
    """Resize maps to the grids of the reference; those of equal grid stay as they are."""
    maps = zip(knowledge.features, reference.features, strict=True)
    return knowledge._replace(
        features=tuple(
            x
            if x.shape[-2:] == other.shape[-2:]
            else F.interpolate(x, other.shape[-2:], mode="bilinear")
            for x, other in maps
        )
    )


def as_level_method(method: nn.Module) -> LevelMethod | None:
    """Return a method, or the one inside :class:`Resized`, if it sums over pairs of maps."""
    inner = method.method if isinstance(method, Resized) else method
    return inner if isinstance(inner, LevelMethod) else None
