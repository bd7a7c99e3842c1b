"""Everything about the teacher of a run: loading, pairing, its worth on this data, its record."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tutelage.config.schema import Config, DistillConfig
from tutelage.data import DatasetIndex, evaluation_loader
from tutelage.data.cache import cache_root
from tutelage.distill import Method, Pairs, build_methods, check_classes, pair
from tutelage.errors import TeacherError
from tutelage.evaluation import evaluate
from tutelage.models.checkpoint import read_checkpoint, restore, weight_file
from tutelage.models.graph import GraphDetector
from tutelage.teachers import NativeTeacher
from tutelage.weights.store import atomic_write_text, identity

VAL_IMAGES = 200  # enough to tell a teacher from none
NO_TEACHER_AP50 = 0.01


class Teaching(NamedTuple):
    """A teacher joined to a student.

    Attributes:
        teacher: Maps images to knowledge.
        network: The detector behind it (for the plan).
        pairs: The tapped layers, in pair order.
        methods: The methods by name.
        weights: The fixed weight per method; 1 for those found by measurement.
        shares: For methods with ``weight: auto``, their share of the gradient ratio.
        record: Contents of ``teacher.json``: identity and scores.
    """

    teacher: NativeTeacher
    network: GraphDetector
    pairs: Pairs
    methods: dict[str, Method]
    weights: dict[str, float]
    shares: dict[str, float]
    record: dict[str, Any]


def teach(
    source: str,
    config: DistillConfig,
    student: GraphDetector,
    device: torch.device,
    origins: Mapping[str, str] | None = None,
    *,
    half: bool = False,
) -> Teaching:
    """Load a teacher, pair it with ``student`` and build the methods.

    Args:
        source: Run folder or weight file.
        config: Layers and methods.
        student: The network to train.
        device: Where the teacher runs.
        origins: Where each setting came from, for messages.
        half: Run the teacher in half precision.

    Raises:
        WeightsError: The teacher cannot be read.
        ConfigError: Layers or methods do not fit.
    """
    path = weight_file(source)
    network = restore(read_checkpoint(path))
    pairs = pair(
        student,
        network,
        student_layers=config.student_kd_layers,
        teacher_layers=config.teacher_kd_layers,
        resize=config.resize,
        origins=origins,
    )
    methods = build_methods(config.methods, pairs.channels, resize=config.resize, origins=origins)
    check_classes(methods, student.names, network.names)
    dtype = torch.float16 if half else torch.float32
    teacher = NativeTeacher(network, [tap.key for tap in pairs.teacher], device=device, dtype=dtype)
    automatic = [
        name for name, c in zip(methods, config.methods, strict=True) if c.weight == "auto"
    ]
    weights = {
        name: 1.0 if c.weight == "auto" else float(c.weight)
        for name, c in zip(methods, config.methods, strict=True)
    }
    shares = {name: config.ratio / len(automatic) for name in automatic}
    record = {"source": source, **identity(path), "names": list(network.names)}
    return Teaching(teacher, network, pairs, methods, weights, shares, record)


def shared_classes(teacher: tuple[str, ...], data: tuple[str, ...]) -> dict[int, int]:
    """Return teacher class → data class for the names that both know."""
    return {number: data.index(name) for number, name in enumerate(teacher) if name in data}


def worth(
    teaching: Teaching, index: DatasetIndex, config: Config, device: torch.device
) -> dict[str, float] | None:
    """Return the teacher's scores on at most 200 val images, through the student's own loader.

    Cached by weights, data and size. None when teacher and data share no class name. Where all
    classes are treated as one, so are the teacher's.

    Raises:
        TeacherError: It finds nothing, and ``distill.accept_teacher`` is not set.
    """
    names = teaching.teacher.names
    classes = shared_classes(names, index.names)
    if config.train.single_cls:
        classes = dict.fromkeys(range(len(names)), 0)
    if not classes:
        return None
    size = config.train.image_size
    key = f"{teaching.record['sha256'][:16]}-{index.fingerprint[:16]}-{size}-{VAL_IMAGES}"
    cache = cache_root() / "teachers" / f"{key}.json"
    scores = _read(cache)
    if scores is None:
        chosen = sample(index, VAL_IMAGES)
        loader = evaluation_loader(chosen, image_size=size, batch=config.train.batch, workers=0)
        found = evaluate(
            lambda images: _predictions(teaching.teacher, images),
            loader,
            chosen,
            device=device,
            class_map=classes,
        )
        scores = {name: float(getattr(found, name)) for name in ("AP", "AP50", "AP75")}
        cache.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(cache, json.dumps(scores))
    source, data = str(teaching.record["source"]), shlex.quote(str(config.data))
    if scores["AP50"] < NO_TEACHER_AP50 and not config.distill.accept_teacher:
        raise TeacherError(
            f"The teacher finds nothing on this data: AP50 {scores['AP50']:.3f} on "
            f"{min(len(index), VAL_IMAGES)} val images.",
            where=source,
            fix="Train it on this data first:  tutelage train "
            f"--weights {shlex.quote(source)} --data {data}\n"
            "Or go on all the same:  --set distill.accept_teacher=true",
        )
    return scores


def _predictions(teacher: NativeTeacher, images: torch.Tensor) -> Any:
    return teacher(images, predictions=True).predictions


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
