"""Events that a training run yields. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # the displays say "loading PyTorch" before it is loaded
    from tutelage.structures import Losses


class Stage(NamedTuple):
    """Work that takes its time and is no training step begins: ``evaluating the teacher``."""

    text: str


class Planned(NamedTuple):
    """Before the first step.

    Attributes:
        rows: Labelled lines.
        folder: The run folder.
        epochs: Number of epochs.
        steps: Steps per epoch.
        stores: Folders of the stores of what its teachers say.
    """

    rows: tuple[tuple[str, str], ...]
    folder: str
    epochs: int
    steps: int
    stores: tuple[str, ...] = ()


class StepDone(NamedTuple):
    """One batch.

    Attributes:
        epoch: Its epoch, counted from 0.
        step: Batches done in the epoch.
        losses: Detached, on the device.
        lr: Learning rate.
        kd_share: KD's part of the total loss; None without a teacher.
        asked: Share of the epoch's batches so far about which a teacher was asked; None: without.
    """

    epoch: int
    step: int
    losses: Losses
    lr: float
    kd_share: float | None
    asked: float | None = None


class EpochDone(NamedTuple):
    """One epoch.

    Attributes:
        epoch: Its number, counted from 0.
        losses: Mean of each term; KD terms as ``method/term``.
        seconds: Without the evaluation.
        lr: Learning rate.
        teaching: What the teachers cost, as in ``metrics.jsonl``; empty without one.
        kd_weights: The weight of each method.
        kd_factors: What the schedule multiplies it with.
        kd_ratios: KD's gradient over detection's at the taps with that weight, as last measured;
            without methods of fixed weight.
    """

    epoch: int
    losses: dict[str, float]
    seconds: float
    lr: float
    teaching: Mapping[str, float] = MappingProxyType({})
    kd_weights: Mapping[str, float] = MappingProxyType({})
    kd_factors: Mapping[str, float] = MappingProxyType({})
    kd_ratios: Mapping[str, float] = MappingProxyType({})


class Evaluated(NamedTuple):
    """One evaluation of the EMA student on the val split."""

    epoch: int
    scores: dict[str, float]
    best: bool


class Notice(NamedTuple):
    """One line of text; a warning has a code (``tutelage explain CODE``)."""

    level: Literal["info", "warning"]
    text: str
    code: str = ""


class Finished(NamedTuple):
    """The end of a run.

    Attributes:
        folder: The run folder.
        best: The best scores.
        best_epoch: Their epoch, counted from 0; -1: never evaluated.
        seconds: Of the whole run.
        teaching: What the teachers cost, see :class:`~tutelage.run.teaching_cost.TeachingCost`;
            empty without one.
    """

    folder: str
    best: dict[str, float]
    best_epoch: int
    seconds: float
    teaching: Mapping[str, float] = MappingProxyType({})


Event = Stage | Planned | StepDone | EpochDone | Evaluated | Notice | Finished
