"""All monitors of a run, applied to its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tutelage.run.events import Event, Notice
from tutelage.run.monitors.kd_losses import ConstantTermMonitor, LossShareMonitor
from tutelage.run.monitors.lost_images import LostImageMonitor
from tutelage.run.monitors.pace import PaceMonitor
from tutelage.run.monitors.rank_checksums import RankMonitor
from tutelage.run.monitors.skipped_steps import SkippedStepMonitor
from tutelage.run.monitors.teacher import DistillationEndMonitor, TeacherPassedMonitor
from tutelage.setup.build import RunParts


class Monitor(Protocol):
    """Checks every event of a run."""

    def check(self, event: Event) -> Notice | None:
        """Return what there is to report after an event."""


def monitor_events(events: Iterator[Event], parts: RunParts) -> Iterator[Event]:
    """Yield the events of a run, each followed by the notices of the monitors about it.

    Args:
        events: The events.
        parts: The parts of the run.

    Raises:
        TrainingError: A method does nothing, or the processes have drifted apart.
    """
    monitors: list[Monitor] = [
        SkippedStepMonitor(parts),
        LostImageMonitor(parts.loader.dataset),
        PaceMonitor(parts.config.train.device, parts.accelerator.device, parts.plan.steps),
    ]
    if parts.teaching is not None:
        task = parts.unwrapped_task
        fixed = set(task.methods) - set(parts.teaching.shares)
        monitors += [
            ConstantTermMonitor(task.weights),
            LossShareMonitor(task.weights, fixed, parts.plan),
            TeacherPassedMonitor(parts.teaching.records, len(parts.val)),
            DistillationEndMonitor(parts.plan, task.methods),
            RankMonitor(parts.accelerator, task.methods),
        ]
    for event in events:
        yield event
        yield from (notice for m in monitors if (notice := m.check(event)) is not None)
