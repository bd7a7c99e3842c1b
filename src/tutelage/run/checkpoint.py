"""``last.pt``: its schema (tensors and plain values only), and how a run is saved and restored.

Also the metadata of ``best.safetensors``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from tutelage.config.schema import Config
from tutelage.errors import WeightsError
from tutelage.models.graph import GraphDetector
from tutelage.setup.student import StudentOrigin
from tutelage.train.schedule import Position
from tutelage.train.task import Task
from tutelage.weights.store import load_last, save_last

FORMAT = "tutelage-last-2"

_Number = int | float
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_MOMENTUM = "momentum_buffer"
_ADAM_STATE = frozenset({"step", "exp_avg", "exp_avg_sq"})


class _Strict(BaseModel):
    """No conversion between types; unknown keys, e.g. of later versions, are ignored."""

    model_config = ConfigDict(arbitrary_types_allowed=True, strict=True)


class LossSums(_Strict):
    """Sum of every loss term over the steps of an epoch so far."""

    steps: _Count
    sums: dict[str, Tensor]


class SplitIdentity(_Strict):
    """Identifies the images and boxes of a split."""

    images: _Count
    boxes: _Count
    sha256: str


class RunProgress(_Strict):
    """State of a run beside its tensors; fields with a default are missing in old files.

    Attributes:
        best: The best AP; -1 before the first evaluation.
        best_epoch: Its epoch; -1 before the first evaluation.
        best_scores: All scores of that epoch.
        readings: Measurements of the method weights
            (:class:`~tutelage.run.kd_weights.WeightMeasurements`).
        threads: CPU threads.
        teachers: The identity of each teacher.
        data: The identity of each split.
        means: Losses of the epoch that was interrupted.
        seconds: Time spent on that epoch.
        processes: Their number.
        head: The training state of the student's head, e.g. anchors.
        anchors: The anchors of the student: old files, in place of ``head``.
        arch: The architecture of the student.
        arch_name: Its name.
        start: Where the first weights of the student came from, in words.
    """

    best: _Number
    best_epoch: Annotated[int, Field(ge=-1, lt=2**31)]
    best_scores: dict[str, _Number]
    readings: list[dict[str, Any]]
    threads: Annotated[int, Field(ge=1, le=4096)]
    teachers: list[str] = []
    data: dict[Literal["train", "val", "distill.images"], SplitIdentity] | None = None
    means: LossSums | None = None
    seconds: _Number = 0.0
    processes: _Count = 1
    head: dict[str, Any] = {}
    anchors: list[Any] | tuple[Any, ...] = ()
    arch: dict[Any, Any] | None = None
    arch_name: str = ""
    start: str = ""

    @property
    def student_origin(self) -> StudentOrigin:
        """With what student the run began."""
        head = {"anchors": self.anchors} if self.anchors else self.head
        return StudentOrigin(head, self.arch, self.arch_name, self.start)


class _OptimizerState(_Strict):
    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class RunCheckpoint(_Strict):
    """What ``last.pt`` holds, beside its format."""

    task: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: _OptimizerState
    scaler: dict[str, _Number] | None
    weights: dict[str, _Number]
    balance: dict[str, list[float]]
    position: Annotated[list[_Count], Field(min_length=2, max_length=2)]
    progress: RunProgress
    config: str


def save_checkpoint(
    path: Path,
    *,
    accelerator: Accelerator,
    task: Any,
    optimizer: Optimizer,
    ema: AveragedModel,
    position: Position,
    progress: RunProgress,
    config: str,
) -> None:
    """Write ``last.pt`` atomically.

    Args:
        path: The file.
        accelerator: Holds the gradient scaler.
        task: The (wrapped) task; its method weights and balances are stored, too.
        optimizer: Its optimizer.
        ema: The average of the student.
        position: Where the run continues.
        progress: Best scores, measured weights, ….
        config: The complete settings as yaml.
    """
    unwrapped: Task = accelerator.unwrap_model(task)
    content = {
        "format": FORMAT,
        "task": unwrapped.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
        "weights": dict(unwrapped.weights),
        "balance": unwrapped.balance(),
        "position": list(position),
        "progress": progress.model_dump(),
        "config": config,
    }
    save_last(path, content)


def load_checkpoint(path: str | Path) -> RunCheckpoint:
    """Read and validate ``last.pt``.

    Raises:
        WeightsError: The file is missing, damaged or not one of ours.
    """
    path = Path(path)
    content = load_last(path)
    if content.get("format") != FORMAT:
        raise WeightsError(f"{path} was not written by this version of tutelage.", code="W25")
    try:
        return RunCheckpoint.model_validate(content)
    except (ValidationError, RecursionError) as error:
        errors = error.errors() if isinstance(error, ValidationError) else []
        keys = [".".join(map(str, each["loc"][:3]))[:60] for each in errors[:3]]
        raise WeightsError(
            f"{path} is damaged ({', '.join(dict.fromkeys(keys)) or 'nested too deeply'}).",
            fix=_start_anew(path),
            code="W25",
        ) from error


def restore(
    checkpoint: RunCheckpoint,
    *,
    accelerator: Accelerator,
    task: Any,
    optimizer: Optimizer,
    ema: AveragedModel,
    path: Path = Path("last.pt"),
) -> Position:
    """Load a checkpoint into freshly built parts and return where the run continues.

    Args:
        checkpoint: What :func:`load_checkpoint` returned.
        accelerator: Its gradient scaler is restored.
        task: The (wrapped) task.
        optimizer: Its optimizer.
        ema: The average of the student.
        path: The file that was read, for messages.

    Raises:
        WeightsError: It belongs to other settings.
    """
    unwrapped: Task = accelerator.unwrap_model(task)
    try:
        unwrapped.load_state_dict(checkpoint.task)
        ema.load_state_dict(checkpoint.ema)
        load_optimizer(optimizer, dict(checkpoint.optimizer))
        unwrapped.weights.update(checkpoint.weights)
        unwrapped.rebalance(checkpoint.balance)
        if accelerator.scaler is not None and checkpoint.scaler is not None:
            accelerator.scaler.load_state_dict(checkpoint.scaler)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise foreign_settings(path) from error
    return Position(*checkpoint.position)


def foreign_settings(path: Path, settings: str = "") -> WeightsError:
    """Return the error of a ``last.pt`` of another run than the ``config.yaml`` beside it.

    Args:
        path: The ``last.pt``.
        settings: The settings that differ, if they are known.
    """
    listed = f" ({settings})" if settings else ""
    what = f"{path} does not fit the config.yaml beside it{listed}: they are of different runs."
    return WeightsError(what, fix=_start_anew(path), code="W25")


def _start_anew(path: Path) -> str:
    return f"Start a new run from its weights: --weights {path.with_name('best.safetensors')}"


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer and check what PyTorch does not.

    Args:
        optimizer: Possibly wrapped by Accelerate.
        state: Its ``state_dict()``.

    Raises:
        ValueError: A setting or tensor has another type or shape than this optimizer needs.
    """
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    adam = isinstance(getattr(optimizer, "optimizer", optimizer), Adam)
    for old, new in zip(before, optimizer.param_groups, strict=True):
        for name, value in old.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            kinds = (int, float) if number else type(value)
            if not isinstance(new.get(name), kinds):
                raise ValueError(f"{name} of a group is {new.get(name)!r}")
        for parameter in new["params"]:
            entries = optimizer.state.get(parameter, {})
            missing = _ADAM_STATE - entries.keys() if entries and adam else ()
            if missing:
                raise ValueError(f"{min(missing)} of a parameter is missing")
            for name, value in entries.items():
                fits = isinstance(value, Tensor) and value.shape in (parameter.shape, ())
                if not fits and not (value is None and name == _MOMENTUM):
                    raise ValueError(f"{name} does not fit its parameter")
        _fill_momenta(optimizer, new["params"])


def _fill_momenta(optimizer: Optimizer, parameters: list[Tensor]) -> None:
    """Set momenta that are missing to zero: SGD accepts all or none."""
    momenta = [optimizer.state.get(each, {}).get(_MOMENTUM) for each in parameters]
    if any(momentum is not None for momentum in momenta):
        for each, momentum in zip(parameters, momenta, strict=True):
            if momentum is None:
                optimizer.state[each][_MOMENTUM] = torch.zeros_like(each)


def best_metadata(
    student: GraphDetector,
    config: Config,
    scores: Mapping[str, float],
    teachers: Sequence[Mapping[str, Any]],
    start: str,
) -> dict[str, object]:
    """Return the metadata of ``best.safetensors``.

    Args:
        student: The network.
        config: All settings.
        scores: Its scores on val.
        teachers: The records of its teachers.
        start: Where its first weights came from, in words.
    """
    train = config.train
    return {
        "format": "tutelage-1",
        "arch": student.arch,
        "arch_name": student.arch_name,
        "names": list(student.names),
        "strides": list(student.strides),
        "image_size": train.image_size,
        "scores": scores,
        "teacher": [
            {key: record[key] for key in ("source", "sha256") if key in record}
            for record in teachers
        ],
        "training": {
            "data": config.data,
            "epochs": train.epochs,
            "seed": train.seed,
            "start": start,
        },
    }
