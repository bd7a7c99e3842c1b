"""The cost of a run: training time and peak of memory."""

from __future__ import annotations

import contextlib
import json
import statistics
from pathlib import Path
from typing import NamedTuple

import torch

from tutelage.run.folder import write_json

FILE = "cost.json"
_STATUS = Path("/proc/self/status")  # getrusage would count the parent of a new process


class RunCost(NamedTuple):
    """The cost of one run.

    Attributes:
        finished: Whether all epochs were trained.
        epochs: Epochs trained.
        seconds_per_epoch: The median, without evaluation; None before the first epoch.
        peak_mib: Peak of the memory allocated on the GPU, or of the resident set of the process
            on the CPU (Linux), else None. Of a resumed run, the maximum over its parts.
        device: The device.
        threads: CPU threads of the network.
    """

    finished: bool
    epochs: int
    seconds_per_epoch: float | None
    peak_mib: float | None
    device: str
    threads: int

    @property
    def seconds(self) -> float | None:
        """Training time of the whole run; the median excludes disturbed epochs."""
        return None if self.seconds_per_epoch is None else self.seconds_per_epoch * self.epochs


def peak_mib(device: torch.device) -> float | None:
    """Return the peak of memory of this process in MiB, None where it cannot be measured."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "cpu":
        with contextlib.suppress(OSError):
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    return None


def write_cost(folder: Path, device: torch.device, *, finished: bool, peak: float | None) -> None:
    """Write the cost of a run, or of a part of it, into its folder.

    Args:
        folder: The run folder.
        device: The device.
        finished: Whether all epochs were trained.
        peak: Peak of memory of this part in MiB.
    """
    before = read_cost(folder)
    peaks = [each for each in (peak, before.peak_mib if before else None) if each is not None]
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    seconds = [float(json.loads(line)["seconds"]) for line in lines]
    cost = RunCost(
        finished=finished,
        epochs=len(seconds),
        seconds_per_epoch=statistics.median(seconds) if seconds else None,
        peak_mib=max(peaks, default=None),
        device=str(device),
        threads=torch.get_num_threads(),
    )
    write_json(folder / FILE, cost._asdict())


def read_cost(folder: Path) -> RunCost | None:
    """Return the cost stored in a run folder, or None."""
    try:
        return RunCost(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
