"""The losses of an epoch: their means over steps and processes, and the files of them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from tutelage.files import atomic_write_text
from tutelage.run.checkpoint import LossSums
from tutelage.sanitise import json_values
from tutelage.structures import Losses

SHARE_EVERY = 10  # steps between computations of the KD share, each of which waits for the device


class LossMeans:
    """Mean of every loss term over an epoch, summed on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = self._taught = 0
        self._last: Losses | None = None
        self._added = 0
        self._share: float | None = None

    def add(self, losses: Losses, *, taught: bool = True) -> None:
        """Add the detached losses of one step, and whether the methods act at it."""
        self._steps += 1
        if taught:
            self._last, self._added, self._taught = losses, self._added + 1, self._taught + 1
        for group in losses:
            for name, value in group.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def state(self) -> LossSums:
        """Return the sums of this process, for the checkpoint."""
        return LossSums(steps=self._steps, taught=self._taught, sums=self._sums)

    def restore(self, state: LossSums) -> None:
        """Continue from what :meth:`state` returned."""
        self._steps, self._sums = state.steps, dict(state.sums)
        self._taught = state.steps if state.taught is None else state.taught

    def take(
        self, gather: Callable[[list[dict[str, float]]], Sequence[Mapping[str, float]]] = list
    ) -> dict[str, float]:
        """Return the means over all steps and processes, and reset.

        Those of distillation are over the steps at which the methods act. A term counts as 0 in
        steps that lack it, e.g. a teacher that was chosen for no image.

        Args:
            gather: Concatenates the lists of all processes. Their terms may differ.
        """
        sums = [
            total.float() / (self._taught if "/" in name else self._steps)
            for name, total in self._sums.items()
        ]
        values = torch.stack(sums).tolist() if sums else []
        means = dict(zip(self._sums, values, strict=True))
        self._sums, self._steps, self._taught = {}, 0, 0
        return _mean_over_processes(gather([means]))

    def kd_share(self, factor: Callable[[str], float]) -> float:
        """Return the KD part of the total loss, computed at every tenth step of those taught.

        Args:
            factor: The schedule's factor of a method at this step.
        """
        if self._last is not None and (self._added % SHARE_EVERY == 1 or self._share is None):
            detection = sum(float(value) for value in self._last.detection.values())
            kd = sum(
                factor(name.partition("/")[0]) * float(value)
                for name, value in self._last.distillation.items()
            )
            self._share, self._last = kd / max(kd + detection, 1e-30), None
        return self._share or 0.0


def gather_state(state: LossSums, processes: int) -> LossSums:
    """Return :meth:`LossMeans.state` with sums averaged over processes; all must call this."""
    if processes == 1:
        return state
    sums = {name: total.float().cpu() for name, total in state.sums.items()}
    return state.model_copy(update={"sums": _mean_over_processes(gather_object([sums]))})


def _mean_over_processes(terms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average floats or tensors by name; a process that lacks a term counts as 0."""
    names = dict.fromkeys(name for each in terms for name in each)
    return {name: sum(each.get(name, 0.0) for each in terms) / len(terms) for name in names}


class MetricsFile:
    """``metrics.jsonl``: one line per epoch, appended; ``metrics.csv``: the same as a table.

    Epochs count from 1, but from 0 in a file that an earlier version has begun.

    Args:
        path: The file.
        keep_epochs: Number of finished epochs of a resumed run: their lines are kept, all others
            (e.g. half a line of a killed process) removed.

    Attributes:
        first: The number of the first epoch.
    """

    def __init__(self, path: Path, *, keep_epochs: int = 0) -> None:
        self._path, self.first = path, 1
        lines: dict[int, str] = {}
        if keep_epochs and path.exists():
            for line in path.read_text(errors="replace").splitlines():
                epoch = _epoch(line)
                if epoch is not None:
                    lines[epoch] = line
            self.first = 0 if 0 in lines else 1
        kept = [lines[epoch] for epoch in sorted(lines) if epoch < keep_epochs + self.first]
        atomic_write_text(path, "".join(f"{line}\n" for line in kept))

    def append(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Append the line of an epoch, counted from 0; NaN becomes null, which JSON can hold."""
        line = json.dumps(json_values({"epoch": epoch + self.first, **row}))
        with self._path.open("a") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        atomic_write_text(self._path.with_suffix(".csv"), as_table(self._path.read_text()))


def as_table(lines: str) -> str:
    """Return the lines of ``metrics.jsonl`` as CSV.

    A column for whatever some epoch has, empty where an epoch lacks it; what is known of each
    method has a column each: ``kd_weights/fgd``.
    """
    rows = [flat_row(json.loads(line)) for line in lines.splitlines()]
    columns = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without nested values: ``{"kd": {"fgd": 1}}`` is ``{"kd/fgd": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        own = value.items() if isinstance(value, dict) else None
        flat |= {f"{name}/{key}": each for key, each in own} if own is not None else {name: value}
    return flat


def _epoch(line: str) -> int | None:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return None
