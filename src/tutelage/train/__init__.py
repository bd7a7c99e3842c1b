"""Training: the task, the loop, the schedule, the optimizer, the EMA."""

from tutelage.train.ema import make_ema
from tutelage.train.loop import fit
from tutelage.train.optimizer import make_optimizer
from tutelage.train.schedule import Position, Schedule
from tutelage.train.supervision import SupervisedBatch, TeacherSupervision
from tutelage.train.task import Task

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
