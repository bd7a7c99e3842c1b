"""All monitors of a run, applied to its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tutelage.run.events import EpochDone, Event, Notice
from tutelage.run.monitors.kd_losses import ConstantTermMonitor, LossShareMonitor
from tutelage.run.monitors.lost_images import LostImageMonitor
from tutelage.run.monitors.pace import PaceMonitor
from tutelage.run.monitors.rank_checksums import check_ranks
from tutelage.run.monitors.skipped_steps import SkippedStepMonitor
from tutelage.run.monitors.teacher import TeacherPassedMonitor, distillation_end
from tutelage.setup.build import RunParts


def monitor_events(events: Iterator[Event], parts: RunParts) -> Iterator[Event]:
    """Yield the events of a run, each followed by the notices of the monitors about it.

    Raises:
        TrainingError: A method does nothing, or the processes have drifted apart.
    """
    checks: list[Callable[[Event], Notice | None]] = [
        SkippedStepMonitor(parts).check,
        LostImageMonitor(parts.loader.dataset).check,
        PaceMonitor(
            parts.config.train.device, parts.accelerator.device, parts.schedule.steps
        ).check,
    ]
    task = parts.unwrapped_task
    if parts.distillation is not None:
        fixed = set(task.methods) - set(parts.distillation.shares)
        checks += [
            ConstantTermMonitor(task.weights).check,
            LossShareMonitor(task.weights, fixed, parts.schedule).check,
            TeacherPassedMonitor(parts.distillation.records, len(parts.val)).check,
            lambda event: distillation_end(event, parts.schedule, task.methods),
        ]
    for event in events:
        yield event
        yield from (notice for check in checks if (notice := check(event)) is not None)
        if parts.distillation is not None and isinstance(event, EpochDone):
            check_ranks(parts.accelerator, task.methods, f"after epoch {event.epoch + 1}")
