"""What a teacher is worth on the data of a run: its scores on val, through the student's loader."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
import torch

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex, evaluation_loader
from tutelage.data.array_cache import cache_root
from tutelage.distill import shared_columns
from tutelage.errors import TeacherError
from tutelage.evaluation import evaluate
from tutelage.setup.distillation import DistillationSetup, teacher_columns
from tutelage.structures import Predictions
from tutelage.teachers import FeatureTeacher, NativeTeacher, Teacher
from tutelage.weights.store import atomic_write_text

VAL_IMAGES = 200  # enough to tell a teacher from none
NO_TEACHER_AP50 = 0.01


def class_map(config: Config, teacher: tuple[str, ...], data: tuple[str, ...]) -> dict[int, int]:
    """Return teacher class → data class, for judging a teacher.

    As ``distill.classes`` says; where it leaves none, by name. Where all classes are treated as
    one, so are the teacher's.

    Raises:
        ConfigError: A class of ``distill.classes`` does not exist.
    """
    if config.train.single_cls:
        return dict.fromkeys(range(len(teacher)), 0)
    columns = teacher_columns(shared_columns(config.distill.classes, data, teacher), len(data))
    found = {theirs: ours for ours, theirs in enumerate(columns) if theirs >= 0}
    return found or {i: data.index(name) for i, name in enumerate(teacher) if name in data}


def worth(
    distillation: DistillationSetup,
    number: int,
    index: DatasetIndex,
    config: Config,
    device: torch.device,
) -> dict[str, float] | None:
    """Return a teacher's scores on at most 200 val images, through the student's own loader.

    Cached by weights, data and size. None when teacher and data share no class. Where all classes
    are treated as one, so are the teacher's.

    Raises:
        TeacherError: It finds nothing, and ``distill.accept_teacher`` is not set.
    """
    teacher, record = distillation.teachers.teachers[number], distillation.records[number]
    classes = class_map(config, teacher.names, index.names)
    if not classes:
        return None
    size = config.train.image_size
    scores, cache = None, None
    if "sha256" in record and not isinstance(teacher, FeatureTeacher):  # its code may change
        told = f"{sorted(classes.items())} {record.get('images')}"
        known = hashlib.sha256(told.encode()).hexdigest()[:8]
        key = f"{record['sha256'][:16]}-{index.fingerprint[:16]}-{size}-{VAL_IMAGES}-{known}"
        cache = cache_root() / "teachers" / f"{key}.json"
        scores = _read(cache)
    if scores is None:
        chosen = sample(index, VAL_IMAGES)
        loader = evaluation_loader(chosen, image_size=size, batch=config.train.images, workers=0)
        found = evaluate(
            lambda images: _predicted(teacher, images),
            loader,
            chosen,
            device=device,
            class_map=classes,
        )
        scores = {name: float(getattr(found, name)) for name in ("AP", "AP50", "AP75")}
        if cache is not None:
            with suppress(OSError):  # a convenience: a full disk is no reason to stop
                cache.parent.mkdir(parents=True, exist_ok=True)
                atomic_write_text(cache, json.dumps(scores))
    source, data = str(record["source"]), shlex.quote(str(config.data))
    if scores["AP50"] < NO_TEACHER_AP50 and not config.distill.accept_teacher:
        train = f"Train it on this data first:  tutelage train --weights {shlex.quote(source)}"
        native = f"{train} --data {data}\n" if isinstance(teacher, NativeTeacher) else ""
        raise TeacherError(
            f"The teacher finds nothing on this data: AP50 {scores['AP50']:.3f} on "
            f"{min(len(index), VAL_IMAGES)} val images.",
            where=source,
            fix=f"{native}Or go on all the same:  --set distill.accept_teacher=true",
            code="T25",
        )
    return scores


def _predicted(teacher: Teacher, images: torch.Tensor) -> Predictions:
    """Return what a teacher predicts.

    Raises:
        TeacherError: Not all of it is finite.
    """
    found = cast("Predictions", teacher(images, predictions=True).predictions)
    if not bool(found.xyxy.isfinite().all() and found.logits.isfinite().all()):
        what = f"The predictions of {teacher.title} are not finite"
        raise TeacherError(what, fix="Mend it, or use another one.", code="T26")
    return found


def sample(index: DatasetIndex, count: int, seed: int = 0) -> DatasetIndex:
    """Return a seeded choice of ``count`` images, or the index itself if it is no larger."""
    if len(index) <= count:
        return index
    chosen = np.random.default_rng(seed).permutation(len(index))[:count]
    return index.subset(np.sort(chosen))


def _read(cache: Path) -> dict[str, float] | None:
    try:
        scores: Mapping[str, float] = json.loads(cache.read_text())
        return {name: float(scores[name]) for name in ("AP", "AP50", "AP75")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
