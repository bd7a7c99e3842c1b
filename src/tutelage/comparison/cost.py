"""The cost of a run: training time and peak of memory."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.run.folder import write_json
from tutelage.run.teaching_cost import read_rows

FILE, METRICS = "cost.json", "metrics.jsonl"
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
        seconds: Of the whole run with all stored answers at hand, see :func:`run_seconds`.
        checks_seconds: Those of checks and of weighing the methods among them.
        asked: About how many epochs' worth of views its teachers were asked.
        asking_seconds: What that took, storing included.
        stores: The folders of its stores.
    """

    finished: bool
    epochs: int
    seconds_per_epoch: float | None
    peak_mib: float | None
    device: str
    threads: int
    seconds: float | None = None
    checks_seconds: float = 0.0
    asked: float = 0.0
    asking_seconds: float = 0.0
    stores: tuple[str, ...] = ()


def run_seconds(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the training time of a run, had all that it stored been stored before.

    An epoch counts as the median of its kind, which excludes disturbed ones; one that asked a
    teacher as the median of those that found all answers stored. If there are none, since every
    epoch asks, they count as they are. Checks and the weighing of the methods are part of each run.

    Args:
        rows: Of ``metrics.jsonl``.
    """
    kinds: dict[str, list[float]] = {"plain": [], "asked": [], "stored": []}
    for row in rows:
        seconds = float(row["seconds"]) - float(row.get("measuring_seconds", 0.0))
        kinds[_kind(row)].append(seconds)
    if kinds["stored"]:  # those that asked last as long
        kinds["stored"] += [statistics.median(kinds["stored"])] * len(kinds.pop("asked"))
    total = sum(statistics.median(each) * len(each) for each in kinds.values() if each)
    return total + checks_seconds(rows) if rows else None


def _kind(row: Mapping[str, Any]) -> str:
    """Return whether teachers were asked in an epoch, had all answers stored, or did not teach."""
    if "asked" in row:
        return "asked" if row["asked"] else "stored"
    return "asked" if "teacher_ms" in row else "plain"


def checks_seconds(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds of checks and of weighing; without what they asked, if that is stored."""
    total = _sum(rows, "measuring_seconds", "checking_seconds")
    if any(_kind(row) == "stored" for row in rows):
        total -= _sum(rows, "checks_teacher_seconds")
    return total


def _sum(rows: Iterable[Mapping[str, Any]], *keys: str) -> float:
    return sum(float(row.get(key) or 0.0) for row in rows for key in keys)


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the metrics of a run say of its cost."""
    asking = [row for row in rows if _kind(row) == "asked"]
    return {
        "epochs": len(rows),
        "seconds_per_epoch": statistics.median(r["seconds"] for r in rows) if rows else None,
        "seconds": run_seconds(rows),
        "checks_seconds": checks_seconds(rows),
        "asked": _sum(rows, "checks_asked") + sum(float(row.get("asked", 1.0)) for row in asking),
        "asking_seconds": _sum(asking, "teacher_seconds", "store_seconds")
        + _sum(rows, "checks_teacher_seconds"),
    }


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


def write_cost(
    folder: Path,
    device: torch.device,
    *,
    finished: bool,
    peak: float | None,
    stores: Sequence[str] = (),
) -> None:
    """Write the cost of a run, or of a part of it, into its folder.

    Args:
        folder: The run folder.
        device: The device.
        finished: Whether all epochs were trained.
        peak: Peak of memory of this part in MiB.
        stores: The folders of its stores.
    """
    before = read_cost(folder)
    peaks = [each for each in (peak, before.peak_mib if before else None) if each is not None]
    cost = RunCost(
        finished=finished,
        peak_mib=max(peaks, default=None),
        device=str(device),
        threads=torch.get_num_threads(),
        stores=tuple(stores or (before.stores if before else ())),
        **_of_rows(read_rows(folder / METRICS)),
    )
    write_json(folder / FILE, cost._asdict())


def read_cost(folder: Path) -> RunCost | None:
    """Return the cost stored in a run folder, or None.

    What an earlier version did not write there is taken from the metrics of the run.
    """
    try:
        stored = json.loads((folder / FILE).read_text())
        if "seconds" not in stored:
            rows = read_rows(folder / METRICS)
            known = {"seconds": _seconds_before(stored), **(_of_rows(rows) if rows else {})}
            stored = {**known, **stored}
        return RunCost(**{**stored, "stores": tuple(stored.get("stores", ()))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _seconds_before(stored: Mapping[str, Any]) -> float | None:
    """Return the training time of a run of which the metrics are lost."""
    each = stored["seconds_per_epoch"]
    return None if each is None else each * stored["epochs"]
