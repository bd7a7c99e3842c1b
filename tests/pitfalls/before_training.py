"""The warnings that a run gives before its first step."""

from types import SimpleNamespace

from tests.setup.small_tasks import make_batch
from tutelage.config.schema import TrainConfig
from tutelage.run.preflight.warnings import check_setup


def warnings_before_training(task, teacher, columns=((-1, -1, -1),), batch=None):
    """Return the warnings about a task and its teachers before the first step of a run."""
    parts = SimpleNamespace(
        unwrapped_task=task,
        student=task.student,
        teaching=SimpleNamespace(panel=teacher, columns=columns),
        accelerator=SimpleNamespace(num_processes=1),
        config=SimpleNamespace(train=TrainConfig(batch=16)),
    )
    return [
        notice.text for notice in check_setup(parts, [make_batch() if batch is None else batch])
    ]
