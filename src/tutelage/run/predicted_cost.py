"""What teaching will cost a run, in per cent of a plain one: an estimate before the first step."""

from __future__ import annotations

from typing import NamedTuple

from tutelage.models.cost import cost
from tutelage.models.graph import GraphDetector
from tutelage.run import kd_weights
from tutelage.run.stored_answers import pictures_of
from tutelage.setup.build import RunParts
from tutelage.setup.pictures import extra_images
from tutelage.setup.views import taught_epochs
from tutelage.teachers.stored import StoredTeachers
from tutelage.training.gradient_ratio import LEAST_BATCHES

# Measured on CPUs, as shares of a plain epoch (benchmarks/stored_teaching.py):
ASKING = 0.65  # a frozen network's operation takes less time than one that learns, all included
TEACHING = 0.02  # reading answers and the arithmetic of a method
WEIGHING = 0.3  # weighing the methods on an epoch's images
WEIGHED = LEAST_BATCHES * kd_weights.BATCH  # images of a measurement that ends as soon as it can


def epochs_asked(parts: RunParts) -> dict[int, float]:
    """Return in how many epochs' worth of batches each teacher will be asked, by its number."""
    taught, every = taught_epochs(parts.config), parts.schedule.every
    teachers = parts.distillation.teachers if parts.distillation else None
    if not isinstance(teachers, StoredTeachers) or parts.teaching.views is None:
        count = len(teachers.teachers) if teachers else 0
        return dict.fromkeys(range(count), taught / every)
    asked = dict.fromkeys(range(len(teachers.teachers)), 0.0)
    asked |= dict.fromkeys(teachers.online, float(taught))
    batch = min(parts.schedule.batch, len(parts.train))
    extra = extra_images(parts.config, batch) * parts.schedule.steps
    for memory in teachers.memories:
        shown = zip(memory.stores, pictures_of(parts), (len(parts.train), extra), strict=False)
        for store, masks, per_epoch in shown:
            lacking = sum(
                int((mask & ~store.reader.present(view)).sum()) for view, mask in masks.items()
            )
            asked[memory.teacher] = max(asked[memory.teacher], lacking / per_epoch)
    return asked


class PredictedCost(NamedTuple):
    """About what a distilled run will take on top of a plain one, as shares of that.

    Attributes:
        asking: Asking the teachers.
        teaching: Reading answers and the arithmetic of the methods.
        weighing: Weighing the methods.
    """

    asking: float
    teaching: float
    weighing: float

    @property
    def share(self) -> float:
        """All of it."""
        return sum(self)

    @property
    def in_words(self) -> str:
        """The share in per cent, and what most of it is where no teacher is asked."""
        words = f"about {100 * self.share:.0f} % on top of a plain run (estimate"
        if not self.asking and self.weighing > self.teaching:
            words += ", most of it for weighing the methods"
        return f"{words})"


def predicted_cost(parts: RunParts) -> PredictedCost | None:
    """Return about what a distilled run will take on top of a plain one.

    What asking takes follows from the operations of the teacher's and three times the student's
    forward pass. None: those of a teacher that will be asked are not known.
    """
    if parts.distillation is None:
        return None
    size, zoom = parts.config.train.image_size, parts.config.distill.teacher_scale
    own = 3 * cost(parts.student, size).gflops
    asking = weighing = 0.0
    for number, epochs in epochs_asked(parts).items():
        if not epochs:
            continue
        network = getattr(parts.distillation.teachers.teachers[number], "network", None)
        if not isinstance(network, GraphDetector):
            return None
        asking += epochs * ASKING * cost(network, round(size * zoom)).gflops / own
    teaching = TEACHING * taught_epochs(parts.config) / parts.schedule.every
    if parts.distillation.shares:
        images = min(WEIGHED, len(parts.train)) / len(parts.train)
        weighing = WEIGHING * images * (1 + len(kd_weights.due_steps(parts.schedule)))
    epochs = parts.schedule.epochs
    return PredictedCost(asking / epochs, teaching / epochs, weighing / epochs)
