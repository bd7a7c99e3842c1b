"""Detections of runs and teachers on the test images, and AP on bootstrap draws; cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex, EvaluationDataset, evaluation_loader, open_dataset
from tutelage.data.array_cache import load_arrays, save_arrays
from tutelage.data.opening import Split
from tutelage.errors import MissingSplitError
from tutelage.evaluation import bootstrap_metric, collect
from tutelage.evaluation.bootstrap import Values
from tutelage.evaluation.coco import Table
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.validate import validate
from tutelage.models.detector import check_image_size
from tutelage.run.preflight.teacher_scores import class_map
from tutelage.structures import Predictions
from tutelage.teachers import FeatureTeacher, Teacher, fingerprint
from tutelage.weights.store import identity

BEST = "best.safetensors"


def open_test_images(config: Config) -> tuple[Split, DatasetIndex]:
    """Open the test split, or val where the data set has no test split.

    Raises:
        DataError: The data set cannot be used.
    """
    try:
        return "test", open_images(config, "test")
    except MissingSplitError:
        return "val", open_images(config, "val")


def open_images(config: Config, split: Split) -> DatasetIndex:
    """Open a split as a run sees it: its classes, its range of values.

    Raises:
        DataError: The data set cannot be used.
    """
    train = config.train
    return open_dataset(
        str(config.data),
        split,
        single_class=train.single_cls,
        classes=train.classes,
        image_range=train.image_range,
    )


def student_detections(folder: Path, config: Config, split: Split, index: DatasetIndex) -> Table:
    """Return the detections of a run's best weights, ``(n, 7)``, cached in its folder."""
    train = config.train
    key = f"{identity(folder / BEST)['sha256']}-{index.fingerprint}-{train.image_size}"

    def detect() -> Table:
        return validate(
            folder,
            data=str(config.data),
            split=split,
            image_size=train.image_size,
            batch=train.images,
            device=train.device,
            single_cls=train.single_cls,
            classes=train.classes,
        ).table

    return _cached(folder / f"detections-{split}.npz", key, "table", detect)


def teacher_detections(
    teacher: Teacher,
    folder: Path,
    config: Config,
    split: Split,
    index: DatasetIndex,
    name: str = "teacher",
) -> Table | None:
    """Return the detections of a teacher, ``(n, 7)``; None if it lacks a class of the data.

    Args:
        teacher: The teacher, on the device of ``config``.
        folder: The folder that caches them.
        config: Settings of the comparison.
        split: Name of the split.
        index: Its images.
        name: Prefix of the file.

    Raises:
        ConfigError: The image size does not fit its stride.
    """
    size = config.train.image_size
    check_image_size(size, teacher.stride)
    classes = class_map(config, teacher.names, index.names)
    if set(classes.values()) != set(range(len(index.names))):
        return None

    def detect() -> Table:
        loader = evaluation_loader(
            index, image_size=size, batch=config.train.images, workers=0, stride=teacher.stride
        )
        return collect(
            lambda images: cast("Predictions", teacher(images, predictions=True).predictions),
            loader,
            index,
            device=choose_device(config.train.device),
            class_map=classes,
            letterbox=cast("EvaluationDataset", loader.dataset).letterbox,
        ).table

    if isinstance(teacher, FeatureTeacher):  # code of the user: its state may not be all of it
        return detect()
    setup = f"{sorted(classes.items())} {teacher.record.get('images')}"
    key = f"{fingerprint(teacher.state())}-{setup}-{index.fingerprint}-{size}"
    return _cached(folder / f"{name}-{split}.npz", key, "table", detect)


def bootstrap_values(
    folder: Path, table: Table, split: Split, index: DatasetIndex, draws: int
) -> Values:
    """Return AP on every bootstrap draw, cached in ``folder``.

    See :func:`~tutelage.evaluation.bootstrap_metric`.
    """
    digest = hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()
    key = f"{digest}-{index.evaluation_fingerprint}-{draws}"
    path = folder / f"draws-{split}.npz"
    return _cached(path, key, "AP", lambda: bootstrap_metric(index, table, draws=draws))


def _cached(path: Path, key: str, name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return an array of a file; compute and store it if the file has another key or is missing."""
    stored = load_arrays(path, key)
    if stored is None:
        stored = {name: compute()}
        save_arrays(path, key, stored)
    return stored[name]
