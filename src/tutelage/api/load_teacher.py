"""``tutelage.load_teacher``."""

from __future__ import annotations

import os

from tutelage.api.arguments import One
from tutelage.config.overrides import normalise_value
from tutelage.evaluation.device import choose_device
from tutelage.teachers import Teacher
from tutelage.teachers import load_teacher as load


def load_teacher(teacher_weights: One, *, device: str = "auto") -> Teacher:
    """Load a teacher: a frozen function from images to knowledge.

    Args:
        teacher_weights: As after ``--teacher-weights``: a run, a weight file, ``torchvision:…``,
            ``hf:…``, ``ultralytics:…``, ``package.module:function``, or the folder of a store.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        WeightsError: It cannot be read.
        MissingExtraError: The library is not installed.
        ConfigError: There is no such family or network, or the device is absent.
    """
    return load(os.fspath(teacher_weights), choose_device(normalise_value("train.device", device)))
