"""From what a user writes after ``--teacher-weights`` to a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from tutelage.models.checkpoint import read_checkpoint, restore, weight_file
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.teacher import Teacher
from tutelage.weights.store import identity

Loader = Callable[[str, torch.device, torch.dtype], Teacher]


def load_native(source: str, device: torch.device, dtype: torch.dtype) -> NativeTeacher:
    """Load a run folder or a weight file of YOLOv7, YOLOv5 or our own.

    Raises:
        WeightsError: There is no such file, or it cannot be read.
    """
    path = weight_file(source)
    record = {"source": source, **identity(path)}
    return NativeTeacher(restore(read_checkpoint(path)), device=device, dtype=dtype, record=record)


TEACHERS: Mapping[str, Loader] = {}  # by the family before the colon


def load_teacher(source: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Teacher:
    """Load a teacher.

    Args:
        source: ``family:name`` of another library (see :data:`TEACHERS`), or a run folder or
            weight file of ours.
        device: Where it runs.
        dtype: Its precision.

    Raises:
        WeightsError: It cannot be read.
        ConfigError: There is no such family or network.
    """
    family, colon, name = source.partition(":")
    if colon and family in TEACHERS:
        return TEACHERS[family](name, device, dtype)
    return load_native(source, device, dtype)
