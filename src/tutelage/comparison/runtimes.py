"""One way to run the teachers for all runs of a comparison."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, cast

import torch

from tutelage.comparison.arms import BASELINE, ComparisonPlan, origins_of
from tutelage.config.schema import TeacherRuntime
from tutelage.run.events import Event
from tutelage.run.kd_weights import SHOWN, batches_with_boxes
from tutelage.run.preflight.teacher_runtime import choose_runtimes
from tutelage.setup.build import build_run
from tutelage.teachers import is_native


def common_runtime(
    comparison: ComparisonPlan, stored: Mapping[str, Any], origins: Mapping[str, str]
) -> Generator[Event, None, TeacherRuntime]:
    """Return how the teachers of every run are run; ``auto`` is measured once.

    Runs that each took what was fastest at that moment would learn from other answers, and could
    not share them. Where ``auto`` finds different runtimes for several teachers, all are run by
    torch.

    Args:
        comparison: The comparison, with its number of threads.
        stored: The result of :func:`~tutelage.comparison.stored.read_comparison`; a comparison that
            is continued keeps its runtime.
        origins: Where each setting came from.

    Yields:
        What is measured, and what was found.

    Raises:
        UserError: The first arm cannot be built.
    """
    distill = comparison.config.distill
    if distill.teacher_runtime != "auto" or not any(map(is_native, distill.teachers)):
        return distill.teacher_runtime
    if stored.get("teacher_runtime", "auto") != "auto":
        return stored["teacher_runtime"]
    arm = next(arm for arm in comparison.arms if arm.name != BASELINE)
    threads = torch.get_num_threads()
    try:
        if isinstance(arm.config.train.threads, int):
            torch.set_num_threads(arm.config.train.threads)
        parts = build_run(arm.config, origins_of(arm, origins), keep_threads=True)
        yield from choose_runtimes(parts, list(batches_with_boxes(parts, SHOWN)))
    finally:
        torch.set_num_threads(threads)
    pairs = zip(
        distill.teachers, parts.distillation.runtimes if parts.distillation else (), strict=True
    )
    found = {runtime for source, runtime in pairs if is_native(source)}
    return cast("TeacherRuntime", found.pop()) if len(found) == 1 else "torch"
