"""Training: the task, the loop, the schedule, the optimizer, the EMA."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.train.ema import make_ema
    from tutelage.train.loop import fit
    from tutelage.train.optimizer import make_optimizer
    from tutelage.train.schedule import Position, Schedule
    from tutelage.train.supervision import TeacherSupervision
    from tutelage.train.task import Task

_PARTS = {
    "TeacherSupervision": "supervision",
    "Schedule": "schedule",
    "Position": "schedule",
    "Task": "task",
    "fit": "loop",
    "make_ema": "ema",
    "make_optimizer": "optimizer",
}
__all__ = [
    "TeacherSupervision",
    "Schedule",
    "Position",
    "Task",
    "fit",
    "make_ema",
    "make_optimizer",
]


def __getattr__(name: str) -> Any:
    """Import the parts on first use."""
    if name in _PARTS:
        return getattr(import_module(f"tutelage.train.{_PARTS[name]}"), name)
    raise AttributeError(f"module 'tutelage.train' has no attribute {name!r}")
