"""Events that a training run yields. Data only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # the displays say "loading PyTorch" before it is loaded
    from tutelage.structures import Losses


class Stage(NamedTuple):
    """Work that takes its time and is no training step begins: ``evaluating the teacher``."""

    text: str


class Planned(NamedTuple):
    """Before the first step: labelled lines, the run folder, epochs and steps per epoch."""

    rows: tuple[tuple[str, str], ...]
    folder: str
    epochs: int
    steps: int


class StepDone(NamedTuple):
    """One batch: detached losses (on the device), learning rate, KD share of the total loss."""

    epoch: int
    step: int
    losses: Losses
    lr: float
    kd_share: float | None


class EpochDone(NamedTuple):
    """One epoch: mean loss per term (KD terms as ``method/term``), seconds and learning rate."""

    epoch: int
    losses: dict[str, float]
    seconds: float
    lr: float


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
    """The end of a run."""

    folder: str
    best: dict[str, float]
    best_epoch: int
    seconds: float


Event = Stage | Planned | StepDone | EpochDone | Evaluated | Notice | Finished
