"""``last.pt``: its schema (tensors and plain values only), and how a run is saved and restored.

Also the metadata of ``best.safetensors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.optim import Adam, Optimizer

from tutelage.errors import WeightsError
from tutelage.setup.build import RunParts
from tutelage.setup.student import StudentOrigin
from tutelage.training.schedule import Position
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
    """Sum of every loss term over the steps of an epoch so far.

    ``taught``: the steps at which the methods act (``distill.every``); old files: all.
    """

    steps: _Count
    taught: _Count | None = None
    sums: dict[str, Tensor]


class SplitIdentity(_Strict):
    """Identifies the images and boxes of a split."""

    images: _Count
    boxes: _Count
    sha256: str


class RunProgress(_Strict):
    """State of a run beside its tensors; old files lack the fields with a default."""

    best: _Number  # AP, -1 before the first evaluation
    best_epoch: Annotated[int, Field(ge=-1, lt=2**31)]
    best_scores: dict[str, _Number]
    readings: list[dict[str, Any]]  # history of the method weights
    threads: Annotated[int, Field(ge=1, le=4096)]
    teachers: list[str] = []  # identity of each
    runtimes: list[str] = []  # how each is run
    data: dict[Literal["train", "val", "distill.images"], SplitIdentity] | None = None
    means: LossSums | None = None  # of the current epoch
    seconds: _Number = 0.0  # spent on the current epoch
    processes: _Count = 1
    anchors: list[Any] | tuple[Any, ...] = ()  # in old files, in place of head
    head: dict[str, Any] = {}  # these four: see StudentOrigin
    arch: dict[Any, Any] | None = None
    arch_name: str = ""
    start: str = ""
    views: _Count = 0  # of each image; 0: a new version in every epoch
    flips: bool = False  # whether they are flipped anew
    precision: str = "fp32"

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
    path: Path, parts: RunParts, position: Position, progress: RunProgress, config: str
) -> None:
    """Write ``last.pt`` atomically.

    Args:
        path: The file.
        parts: Task, optimizer, EMA and gradient scaler are stored.
        position: Where the run continues.
        progress: Best scores, measured weights, ….
        config: The complete settings as yaml.
    """
    task, scaler = parts.unwrapped_task, parts.accelerator.scaler
    content = {
        "format": FORMAT,
        "task": task.state_dict(),
        "ema": parts.ema.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "weights": dict(task.weights),
        "balance": task.balance(),
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


def restore(checkpoint: RunCheckpoint, parts: RunParts, path: Path = Path("last.pt")) -> Position:
    """Load a checkpoint into new parts and return where the run continues.

    Args:
        checkpoint: What :func:`load_checkpoint` returned.
        parts: Task, optimizer, EMA and gradient scaler are restored.
        path: The file that was read, for messages.

    Raises:
        WeightsError: It belongs to other settings.
    """
    task, scaler = parts.unwrapped_task, parts.accelerator.scaler
    try:
        task.load_state_dict(checkpoint.task)
        parts.ema.load_state_dict(checkpoint.ema)
        load_optimizer(parts.optimizer, dict(checkpoint.optimizer))
        task.weights.update(checkpoint.weights)
        task.rebalance(checkpoint.balance)
        if scaler is not None and checkpoint.scaler is not None:
            scaler.load_state_dict(checkpoint.scaler)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise foreign_settings(path) from error
    return Position(*checkpoint.position)


def foreign_settings(path: Path, settings: str = "") -> WeightsError:
    """Return the error of a ``last.pt`` of another run than the ``config.yaml`` beside it."""
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


def best_metadata(parts: RunParts, scores: Mapping[str, float]) -> dict[str, object]:
    """Return the metadata of ``best.safetensors``, with the scores of the student on val."""
    student, config, train = parts.student, parts.config, parts.config.train
    return {
        "format": "tutelage-1",
        "arch": student.arch,
        "arch_name": student.arch_name,
        "names": list(student.names),
        "strides": list(student.strides),
        "image_size": train.image_size,
        "image_range": train.image_range,
        "scores": scores,
        "teacher": [
            {key: record[key] for key in ("source", "sha256") if key in record}
            for record in parts.teacher_records
        ],
        "training": {
            "data": config.data,
            "epochs": train.epochs,
            "seed": train.seed,
            "start": parts.start,
        },
    }
