"""What a run does about the stores of its teachers between epochs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from tutelage.run.events import Notice
from tutelage.setup.build import RunParts, halves_teachers
from tutelage.setup.pictures import Pictures, pictures_shown
from tutelage.teachers import Teacher, load_teacher
from tutelage.teachers.stored import StoredTeachers
from tutelage.training.freed_memory import return_freed_memory


def release_teachers(parts: RunParts) -> None:
    """Let go of the teachers' networks once all that they will be asked is stored."""
    if parts.distillation is None or parts.supervision is None or parts.teaching.views is None:
        return
    teachers = parts.distillation.teachers
    if not isinstance(teachers, StoredTeachers) or teachers.released:
        return
    if not teachers.complete(pictures_of(parts)):
        return
    keys = [[tap.key for tap in teacher.taps] for teacher in teachers.teachers]
    sources, device = parts.config.distill.teachers, parts.accelerator.device
    dtype = torch.float16 if halves_teachers(device, parts.precision) else torch.float32

    def load(number: int) -> Teacher:
        return load_teacher(sources[number], device, dtype).sharing(keys[number])

    for each in (teachers, parts.supervision.teachers):
        if isinstance(each, StoredTeachers):
            each.release(load)
    return_freed_memory()


def store_folders(parts: RunParts) -> tuple[str, ...]:
    """Return the folders in which a run stores what its teachers say; each once."""
    teachers = parts.distillation.teachers if parts.distillation else None
    if not isinstance(teachers, StoredTeachers):
        return ()
    stores = (store for memory in teachers.memories for store in memory.stores)
    return tuple(dict.fromkeys(str(store.folder) for store in stores))


def pictures_of(parts: RunParts) -> Pictures:
    """Return the pictures that a run shows its teachers."""
    images = len(parts.train), len(parts.unlabelled) if parts.unlabelled is not None else 0
    return pictures_shown(parts.config, parts.teaching.views, images)


def run_out_of_room(parts: RunParts, told: set[Path]) -> Iterator[Notice]:
    """Warn once of each store that nothing more is written to.

    Args:
        parts: The parts of the run.
        told: The stores that were warned of; added to.
    """
    teachers = parts.supervision.teachers if parts.supervision else None
    if not isinstance(teachers, StoredTeachers):
        return
    for folder, trouble in teachers.troubles.items():
        if folder not in told:
            told.add(folder)
            yield Notice(
                "warning",
                f"Nothing more is stored in {folder}: {trouble}. The teacher is asked instead, so "
                "that the run takes longer.",
                "T48",
            )
