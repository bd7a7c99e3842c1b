"""The network that is trained, before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch

from tutelage.config.overrides import name_setting
from tutelage.config.schema import Config
from tutelage.models.architecture import read_architecture
from tutelage.models.build import build
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import begin, fill, read_checkpoint
from tutelage.setup.autoanchor import Anchors

DEFAULT_ARCH = "yolov7-tiny"


class StudentOrigin(NamedTuple):
    """With what a run began that goes on now; runs of the first versions do not say all of it.

    Attributes:
        anchors: The anchors of its student; empty if not known.
        arch: Its architecture; None if not known.
        arch_name: What that is called.
        start: Where its weights came from, in words.
    """

    anchors: Anchors = ()
    arch: Mapping[str, Any] | None = None
    arch_name: str = ""
    start: str = ""

    @classmethod
    def read(cls, progress: Mapping[str, Any]) -> Self:
        """Return what the progress of a saved run says."""
        return cls(**{key: progress[key] for key in cls._fields if key in progress})

    @classmethod
    def of(cls, student: GraphDetector, start: str) -> Self:
        """Return what to save of a student."""
        return cls(student.anchors.tolist(), student.arch, student.arch_name, start)


def make_student(
    config: Config,
    names: tuple[str, ...],
    origins: Mapping[str, str] | None = None,
    began: StudentOrigin | None = None,
) -> tuple[GraphDetector, str]:
    """Build the student with the data set's classes, from its architecture and weights.

    With weights alone, their architecture and their anchors are kept. A run that goes on needs
    neither the yaml nor the weights that it began with.

    Returns:
        The student, and where its weights come from, in words.
    """
    torch.manual_seed(config.train.seed)
    if began is not None and began.arch is not None:
        graph = read_architecture(began.arch, name=began.arch_name, classes=len(names))
        return GraphDetector(graph, names), began.start
    arch, weights = config.model.arch, config.model.weights
    if weights is None:
        return build(arch or DEFAULT_ARCH, names), "from scratch"
    with name_setting("model.weights", origins):
        checkpoint = read_checkpoint(weights)
    if arch is None:
        student, report = begin(checkpoint, names)
    else:
        student = build(arch, names)
        report = fill(student, checkpoint)
    head = f"model.{len(student.model) - 1}."
    taken = report.in_words(head, len(checkpoint.names), len(names))
    return student, f"{weights}: {taken}"
