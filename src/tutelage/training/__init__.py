"""Training: the task, the loop, the schedule, the optimizer, the EMA."""

from tutelage.training.ema import make_ema
from tutelage.training.loop import fit
from tutelage.training.optimizer import make_optimizer
from tutelage.training.schedule import Position, Schedule
from tutelage.training.supervision import SupervisedBatch, TeacherSupervision
from tutelage.training.task import Task

__all__ = [
    "Position",
    "Schedule",
    "SupervisedBatch",
    "Task",
    "TeacherSupervision",
    "fit",
    "make_ema",
    "make_optimizer",
]
