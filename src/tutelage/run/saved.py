"""What ``last.pt`` must look like before anything of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.optim import Adam, Optimizer

from tutelage.errors import WeightsError

_Number = int | float
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_Tensors = dict[str, Tensor]
_MOMENTUM = "momentum_buffer"
_NEEDED = frozenset({"step", "exp_avg", "exp_avg_sq"})  # of every parameter that Adam has moved


class _Typed(BaseModel):
    """Of exactly these types; other keys may stand beside."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow", strict=True)


class _Means(_Typed):
    steps: _Count
    sums: _Tensors


class _Split(_Typed):
    images: _Count
    boxes: _Count
    sha256: str


class _Progress(_Typed):
    best: _Number
    best_epoch: Annotated[int, Field(ge=-1, lt=2**31)]
    best_scores: dict[str, _Number]
    readings: list[dict[str, Any]]
    threads: Annotated[int, Field(ge=1, le=4096)]
    teachers: list[str] = []
    data: dict[Literal["train", "val", "distill.images"], _Split] | None = None
    means: _Means | None = None
    head: dict[str, Any] = {}
    anchors: list[Any] | tuple[Any, ...] = ()  # of the first versions, in place of head
    arch: dict[Any, Any] | None = None
    arch_name: str = ""
    start: str = ""


class _Optimizer(_Typed):
    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class _State(_Typed):
    task: _Tensors
    ema: _Tensors
    optimizer: _Optimizer
    scaler: dict[str, _Number] | None
    weights: dict[str, _Number]
    balance: dict[str, list[float]]
    position: Annotated[list[_Count], Field(min_length=2, max_length=2)]
    progress: _Progress
    config: str


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer; PyTorch compares it with its parameters only in part.

    Args:
        optimizer: Also one that is wrapped by Accelerate.
        state: Its ``state_dict()``.

    Raises:
        ValueError: A setting or a tensor is not what this optimizer would have.
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
            missing = _NEEDED - entries.keys() if entries and adam else ()
            if missing:
                raise ValueError(f"{min(missing)} of a parameter is missing")
            for name, value in entries.items():
                fits = isinstance(value, Tensor) and value.shape in (parameter.shape, ())
                if not fits and not (value is None and name == _MOMENTUM):
                    raise ValueError(f"{name} does not fit its parameter")
        _complete(optimizer, new["params"])


def _complete(optimizer: Optimizer, parameters: list[Tensor]) -> None:
    """Give the parameters that lack a momentum what it begins with: SGD takes all or none."""
    known = [optimizer.state.get(each, {}).get(_MOMENTUM) for each in parameters]
    if any(momentum is not None for momentum in known):
        for each, momentum in zip(parameters, known, strict=True):
            if momentum is None:
                optimizer.state[each][_MOMENTUM] = torch.zeros_like(each)


def check_state(state: Mapping[str, Any], path: Path) -> None:
    """Refuse a state that a run could not have written; keys of later versions are let be.

    Raises:
        WeightsError: Something is missing in it, or of another type; the first places are named.
    """
    try:
        _State.model_validate(dict(state))
    except (ValidationError, RecursionError) as error:
        found = error.errors() if isinstance(error, ValidationError) else []
        places = [".".join(map(str, one["loc"][:3]))[:60] for one in found[:3]]
        raise WeightsError(
            f"{path} is damaged ({', '.join(dict.fromkeys(places)) or 'nested too deeply'}).",
            fix=f"Start a new run from its weights: --weights {path.with_name('best.safetensors')}",
            code="W25",
        ) from error
