"""One number of CPU threads for all runs of a comparison."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from tutelage.comparison.arms import ComparisonPlan
from tutelage.comparison.cost import read_cost
from tutelage.setup.cpu_threads import choose_threads
from tutelage.setup.student import make_student


def common_threads(
    comparison: ComparisonPlan,
    stored: Mapping[str, Any],
    device: torch.device,
    names: tuple[str, ...],
) -> int | None:
    """Return the CPU threads of every run; None where the networks run on a GPU.

    Another number of threads rounds sums in another order, and after some epochs that moves AP by a
    point or two: runs that each took the number that was fastest at that moment would differ by
    more than their methods.

    Args:
        comparison: The comparison; ``train.threads`` of its settings decides if it is a number.
        stored: The result of :func:`~tutelage.comparison.stored.read_comparison`; a comparison that
            is continued keeps its number. One without it keeps that of most of its runs.
        device: Where the networks run.
        names: Class names of the student.
    """
    train = comparison.config.train
    if device.type != "cpu":
        return None
    if train.threads != "auto":
        return train.threads
    if isinstance(stored.get("threads"), int):
        return int(stored["threads"])
    costs = [read_cost(run.folder) for run in comparison.runs()]
    if any(costs):
        return statistics.mode(cost.threads for cost in costs if cost)
    student, _ = make_student(comparison.arms[0].config, names)
    return choose_threads("auto", student, train.image_size, train.images)


def unlike_threads(threads: Iterable[int]) -> str | None:
    """Return what it means that runs on the CPU had these threads; None if all had the same."""
    found = set(threads)
    if len(found) < 2:
        return None
    return (
        f"The runs had different numbers of CPU threads ({min(found)} to {max(found)}): their "
        "times are not comparable, nor are APs that differ by a point or two. Train them anew in "
        f"another folder:  --set train.threads={max(found)}"
    )
