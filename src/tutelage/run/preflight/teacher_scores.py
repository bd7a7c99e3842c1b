"""Scores of a teacher on the val split of a run (cached)."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex, evaluation_loader
from tutelage.data.array_cache import cache_root
from tutelage.distill import shared_columns
from tutelage.distill.view import View
from tutelage.errors import TeacherError
from tutelage.evaluation import evaluate
from tutelage.evaluation.nms import EVALUATION_IOU
from tutelage.files import atomic_write_text
from tutelage.setup.distillation import DistillationSetup, teacher_columns
from tutelage.structures import Predictions
from tutelage.teachers import FeatureTeacher, NativeTeacher, Teacher

VAL_IMAGES = 200
HEADLINE = ("AP", "AP50", "AP75")
THRESHOLD, LEAST_PROBABILITY = "threshold", 0.05  # of a detection that teaches another family
LOWEST_AP50 = 0.01  # of a teacher that finds anything
SIZES_APART = 1.5  # larger by smaller image size from which a teacher may find much less


def class_map(config: Config, teacher: tuple[str, ...], data: tuple[str, ...]) -> dict[int, int]:
    """Return teacher class → data class, to evaluate a teacher.

    By ``distill.classes``; by name if that maps none. With ``train.single_cls`` all of the
    teacher's classes become the one class.

    Raises:
        ConfigError: A class of ``distill.classes`` does not exist.
    """
    if config.train.single_cls:
        return dict.fromkeys(range(len(teacher)), 0)
    columns = teacher_columns(shared_columns(config.distill.classes, data, teacher), len(data))
    found = {theirs: ours for ours, theirs in enumerate(columns) if theirs >= 0}
    return found or {i: data.index(name) for i, name in enumerate(teacher) if name in data}


def size_warning(record: Mapping[str, Any], image_size: int) -> str | None:
    """Return a warning for a teacher of a much smaller or larger image size than the run's."""
    trained = record.get("image_size")
    if not trained or max(trained, image_size) < SIZES_APART * min(trained, image_size):
        return None
    return (
        f"The teacher {record['source']} is judged at {image_size} px, trained at {trained}: it "
        f"may find much less. At its size:  --img-size {trained}"
    )


def evaluate_teacher(
    distillation: DistillationSetup,
    number: int,
    index: DatasetIndex,
    config: Config,
    device: torch.device,
) -> dict[str, float] | None:
    """Return the scores of a teacher on at most 200 val images; None without common classes.

    They are ``AP``, ``AP50``, ``AP75`` and ``threshold``, the score at which one detection in
    twenty is right (0: next to nothing was found). The images are prepared as for the
    student. Cached by weights, data and size.

    Args:
        distillation: The teachers.
        number: The number of the teacher.
        index: The val split.
        config: All settings.
        device: Where the teacher runs.

    Raises:
        TeacherError: It finds nothing, and ``distill.accept_teacher`` is not set.
    """
    teacher, record = distillation.teachers.teachers[number], distillation.records[number]
    if isinstance(teacher, NativeTeacher):
        teacher = teacher.reference()  # the scores are kept for other runs
    classes = class_map(config, teacher.names, index.names)
    if not classes:
        return None
    size = config.train.image_size
    scores, cache = None, None
    if "sha256" in record and not isinstance(teacher, FeatureTeacher):  # its code may change
        inputs = f"{sorted(classes.items())} {record.get('images')} {EVALUATION_IOU}"
        digest = hashlib.sha256(inputs.encode()).hexdigest()[:8]
        images = f"{index.evaluation_fingerprint[:16]}-{size}-{VAL_IMAGES}"
        key = f"{record['sha256'][:16]}-{images}-{digest}"
        cache = cache_root() / "teachers" / f"{key}.json"
        scores = _read_cache(cache)
    if scores is None:
        some = sample(index, VAL_IMAGES)
        loader = evaluation_loader(some, image_size=size, batch=config.train.images, workers=0)
        result = evaluate(
            lambda batch: _predict(teacher, batch), loader, some, device=device, class_map=classes
        )
        scores = {name: float(getattr(result, name)) for name in HEADLINE}
        known = result.AP50 >= LOWEST_AP50  # else too few are right to say when
        scores[THRESHOLD] = (known and result.score_of_probability(LEAST_PROBABILITY)) or 0.0
        if cache is not None:
            with suppress(OSError):  # a full disk is no reason to stop
                cache.parent.mkdir(parents=True, exist_ok=True)
                atomic_write_text(cache, json.dumps(scores))
    source, data = str(record["source"]), shlex.quote(str(config.data))
    if scores["AP50"] < LOWEST_AP50 and not config.distill.accept_teacher:
        train = f"Train it on this data first:  tutelage train --weights {shlex.quote(source)}"
        native = f"{train} --data {data}\n" if isinstance(teacher, NativeTeacher) else ""
        trained = record.get("image_size", size)
        sizes, own = "", ""
        if trained != size:
            sizes = f", judged at {size} px, trained at {trained}"
            own = f"Judge it at its own size:  --img-size {trained}\n"
        raise TeacherError(
            f"The teacher finds nothing on this data: AP50 {scores['AP50']:.3f} on "
            f"{min(len(index), VAL_IMAGES)} val images{sizes}.",
            where=source,
            fix=f"{own}{native}Or go on all the same:  --set distill.accept_teacher=true",
            code="T25",
        )
    return scores


def use_thresholds(views: MutableMapping[str, View], records: Sequence[Mapping[str, Any]]) -> None:
    """Give each method the threshold of its teacher, where that is known.

    Args:
        views: Those of the methods, changed in place.
        records: Of the teachers, with their scores.
    """
    for name, view in views.items():
        scores = records[view.teacher].get("scores") if view.teacher < len(records) else None
        views[name] = view._replace(threshold=(scores or {}).get(THRESHOLD) or None)


def _predict(teacher: Teacher, images: torch.Tensor) -> Predictions:
    """Return the predictions of a teacher; an error if they are not finite."""
    predictions = cast("Predictions", teacher(images, predictions=True).predictions)
    if not bool(predictions.xyxy.isfinite().all() and predictions.logits.isfinite().all()):
        what = f"The predictions of {teacher.title} are not finite"
        raise TeacherError(what, fix="Mend it, or use another one.", code="T26")
    return predictions


def sample(index: DatasetIndex, count: int) -> DatasetIndex:
    """Return ``count`` random images (always the same), or the index itself if it is no larger."""
    if len(index) <= count:
        return index
    chosen = np.random.default_rng(0).permutation(len(index))[:count]
    return index.subset(np.sort(chosen))


def _read_cache(cache: Path) -> dict[str, float] | None:
    try:
        scores: Mapping[str, float] = json.loads(cache.read_text())
        return {name: float(scores[name]) for name in (*HEADLINE, THRESHOLD)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
