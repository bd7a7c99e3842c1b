"""Builds the student and loads its first weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from tutelage.config.overrides import name_setting
from tutelage.config.schema import Config
from tutelage.models.architecture import read_architecture
from tutelage.models.build import build
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import build_for_classes, load_matching, read_checkpoint

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
        graph = read_architecture(
            student_origin.arch, name=student_origin.arch_name, classes=len(names)
        )
        return GraphDetector(graph, names), student_origin.start
    arch, weights = config.model.arch, config.model.weights
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
