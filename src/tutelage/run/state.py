"""What a run needs to go on: tensors and plain values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tutelage.config.schema import Config
from tutelage.errors import WeightsError
from tutelage.models.graph import GraphDetector
from tutelage.run.saved import check_state, load_optimizer
from tutelage.train.schedule import Position
from tutelage.train.task import Task
from tutelage.weights.store import load_last, save_last

FORMAT = "tutelage-last-2"


def save_state(
    path: Path,
    *,
    accelerator: Accelerator,
    task: Any,
    optimizer: Optimizer,
    ema: AveragedModel,
    at: Position,
    progress: dict[str, Any],
    config: str,
) -> None:
    """Write ``last.pt`` atomically.

    Args:
        path: The file.
        accelerator: Holds the gradient scaler.
        task: The (wrapped) task; its method weights and balances are stored too.
        optimizer: Its optimizer.
        ema: The average of the student.
        at: Where the run continues.
        progress: Plain values: best score and epoch, calibrated weights, …
        config: The complete settings as yaml.
    """
    bare: Task = accelerator.unwrap_model(task)
    save_last(
        path,
        {
            "format": FORMAT,
            "task": bare.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
            "weights": dict(bare.weights),
            "balance": bare.balance(),
            "position": list(at),
            "progress": progress,
            "config": config,
        },
    )


def header(
    student: GraphDetector,
    config: Config,
    scores: Mapping[str, float],
    teachers: Sequence[Mapping[str, Any]],
    start: str,
) -> dict[str, object]:
    """Return what ``best.safetensors`` says beside its tensors.

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


def read_state(path: Path) -> dict[str, Any]:
    """Read ``last.pt``.

    Raises:
        WeightsError: The file is missing, damaged or not one of ours.
    """
    state = load_last(path)
    if state.get("format") != FORMAT:
        raise WeightsError(f"{path} was not written by this version of tutelage.", code="W25")
    check_state(state, path)
    return state


def restore(
    state: dict[str, Any],
    *,
    accelerator: Accelerator,
    task: Any,
    optimizer: Optimizer,
    ema: AveragedModel,
    path: Path = Path("last.pt"),
) -> Position:
    """Load a state into freshly built parts and return where to go on.

    Args:
        state: What :func:`read_state` returned.
        accelerator: Gets the gradient scaler's state.
        task: The (wrapped) task.
        optimizer: Its optimizer.
        ema: The average of the student.
        path: The file that was read, for messages.

    Raises:
        WeightsError: It belongs to other settings: a folder that was used for two runs.
    """
    bare: Task = accelerator.unwrap_model(task)
    try:
        bare.load_state_dict(state["task"])
        ema.load_state_dict(state["ema"])
        load_optimizer(optimizer, state["optimizer"])
        bare.weights.update(state["weights"])
        bare.rebalance(state["balance"])
        if accelerator.scaler is not None and state["scaler"] is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} does not fit the config.yaml beside it: they are of different runs.",
            fix=f"Start a new run from its weights: --weights {path.with_name('best.safetensors')}",
            code="W25",
        ) from error
    return Position(*state["position"])
