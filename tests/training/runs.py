"""Small training loops."""

from accelerate import Accelerator
from torch.utils.data import DataLoader

from tests.setup.small_tasks import make_batch, make_task
from tutelage.config.schema import OptimConfig
from tutelage.training.ema import make_ema
from tutelage.training.optimizer import make_optimizer
from tutelage.training.supervision import TeacherSupervision


def make_run(schedule, **task_options):
    """Return the arguments of ``fit``: four fixed batches per epoch."""
    task, teachers = make_task(**task_options)
    optimizer = make_optimizer(task, OptimConfig(lr=0.01))
    batches = [make_batch(seed=s) for s in range(4)]
    loader = DataLoader(batches, batch_size=1, collate_fn=lambda only: only[0])
    accelerator = Accelerator(cpu=True)
    ema = make_ema(task.student)
    task, optimizer, loader = accelerator.prepare(task, optimizer, loader)
    return (
        accelerator,
        task,
        TeacherSupervision(teachers, [[0, 1, 2]]),
        optimizer,
        ema,
        loader,
        schedule,
    )
