"""Detections of finished runs and of the teacher on the test images, found once and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import numpy as np

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex, EvaluationDataset, evaluation_loader, open_dataset
from tutelage.data.array_cache import load_arrays, save_arrays
from tutelage.data.open_data import Split
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
    data, single = str(config.data), config.train.single_cls
    try:
        return "test", open_dataset(data, "test", single_class=single)
    except MissingSplitError:
        return "val", open_dataset(data, "val", single_class=single)


def student_detections(folder: Path, config: Config, split: Split, index: DatasetIndex) -> Table:
    """Return what a run's best weights detect, ``(n, 7)``; kept in the run folder.

    Args:
        folder: The run folder.
        config: Its settings.
        split: The name of the split.
        index: Its images.
    """
    size = config.train.image_size
    path = folder / f"detections-{split}.npz"
    key = f"{identity(folder / BEST)['sha256']}-{index.fingerprint}-{size}"
    kept = load_arrays(path, key)
    if kept is not None:
        return kept["table"]
    table = validate(
        folder,
        data=str(config.data),
        split=split,
        image_size=size,
        batch=config.train.images,
        device=config.train.device,
        single_cls=config.train.single_cls,
    ).table
    save_arrays(path, key, {"table": table})
    return table


def teacher_detections(
    teacher: Teacher,
    folder: Path,
    config: Config,
    split: Split,
    index: DatasetIndex,
    name: str = "teacher",
) -> Table | None:
    """Return what the teacher detects, ``(n, 7)``; None if it does not know every class.

    Args:
        teacher: The teacher, on the device of ``config``.
        folder: Where the detections are kept.
        config: Settings of the comparison.
        split: The name of the split.
        index: Its images.
        name: Begins the name of their file.

    Raises:
        ConfigError: The image size does not fit its stride.
    """
    size = config.train.image_size
    check_image_size(size, teacher.stride)
    classes = class_map(config, teacher.names, index.names)
    if set(classes.values()) != set(range(len(index.names))):
        return None
    path = folder / f"{name}-{split}.npz"
    told = f"{sorted(classes.items())} {teacher.record.get('images')}"
    key = f"{fingerprint(teacher.state())}-{told}-{index.fingerprint}-{size}"
    kept = None if isinstance(teacher, FeatureTeacher) else load_arrays(path, key)
    if kept is not None:
        return kept["table"]
    loader = evaluation_loader(
        index, image_size=size, batch=config.train.images, workers=0, stride=teacher.stride
    )
    table = collect(
        lambda images: cast("Predictions", teacher(images, predictions=True).predictions),
        loader,
        index,
        device=choose_device(config.train.device),
        class_map=classes,
        letterbox=cast("EvaluationDataset", loader.dataset).letterbox,
    ).table
    save_arrays(path, key, {"table": table})
    return table


def resampled_once(
    folder: Path, table: Table, split: Split, index: DatasetIndex, draws: int
) -> Values:
    """Return AP on every draw, as :func:`~tutelage.evaluation.bootstrap_metric`; kept, too.

    Args:
        folder: Where the values are kept.
        table: Detections.
        split: The name of the split.
        index: Its images.
        draws: Bootstrap draws.
    """
    path = folder / f"draws-{split}.npz"
    digest = hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()
    key = f"{digest}-{index.fingerprint}-{draws}"
    kept = load_arrays(path, key)
    values = kept["AP"] if kept is not None else bootstrap_metric(index, table, draws=draws)
    if kept is None:
        save_arrays(path, key, {"AP": values})
    return values
