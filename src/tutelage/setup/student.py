"""Builds the student and loads its first weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from tutelage.config.overrides import name_setting
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, WeightsError
from tutelage.models.architecture import read_architecture
from tutelage.models.build import build, own_weights
from tutelage.models.catalog import stored_name
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import BEST, build_for_classes, load_matching, read_checkpoint
from tutelage.weights.store import load_outline

DEFAULT_ARCH = "yolov7-tiny"


class StudentOrigin(NamedTuple):
    """The student with which a resumed run began; old checkpoints lack some of it.

    Attributes:
        head: The training state of its student's head, e.g. anchors; empty if not known.
        arch: Its architecture; None if not known.
        arch_name: What that is called.
        start: Where its weights came from, in words.
    """

    head: Mapping[str, Any] = MappingProxyType({})
    arch: Mapping[str, Any] | None = None
    arch_name: str = ""
    start: str = ""


def make_student(
    config: Config,
    names: tuple[str, ...],
    origins: Mapping[str, str] | None = None,
    student_origin: StudentOrigin | None = None,
) -> tuple[GraphDetector, str]:
    """Build the student with the data set's classes, from its architecture and weights.

    With weights alone, their architecture and anchors are kept. A resumed run needs neither the
    yaml nor the weights with which it began.

    Args:
        config: All settings.
        names: The classes.
        origins: Where each setting came from, for messages.
        student_origin: The student of a resumed run.

    Returns:
        The student, and where its weights came from, in words.
    """
    torch.manual_seed(config.train.seed)
    if student_origin is not None and student_origin.arch is not None:
        name = stored_name(student_origin.arch_name, student_origin.arch)
        graph = read_architecture(student_origin.arch, name=name, classes=len(names))
        return GraphDetector(graph, names), student_origin.start
    arch, weights = config.model.arch, config.model.weights
    if weights is None:
        arch = arch or DEFAULT_ARCH
        weights = own_weights(arch)
    if weights is None:
        return build(arch or DEFAULT_ARCH, names), "from scratch"
    with name_setting("model.weights", origins):
        checkpoint = read_checkpoint(weights)
    if arch is None:
        student, report = build_for_classes(checkpoint, names)
    else:
        student = build(arch, names)
        report = load_matching(student, checkpoint)
    head = f"model.{len(student.model) - 1}."
    taken = report.in_words(head, len(checkpoint.names), len(names))
    return student, f"{weights}: {taken}"


def check_stored_width(run_file: str | Path, arch: str) -> None:
    """Refuse the settings of a run of version 0.1.0 whose ``name@share`` means another width here.

    Args:
        run_file: The ``config.yaml`` of a run folder; nothing is known of other files.
        arch: The architecture that it names.

    Raises:
        ConfigError: The weights beside the file have another width; says what they are called.
    """
    best, meta = Path(run_file).with_name(BEST), {}
    if not best.is_file():
        return
    with suppress(WeightsError):  # damaged weights are no matter of the settings
        meta = load_outline(best)[1]
    graph = meta.get("arch")
    name = stored_name(arch, graph) if isinstance(graph, dict) else arch
    if meta.get("arch_name") == arch != name:
        raise ConfigError(
            f"{run_file} is of version 0.1.0, where the number after @ was the width multiple "
            f"itself: its {arch} is {name} here.",
            where="model.arch",
            fix=f"Use  --cfg {name}",
            code="C27",
        )
