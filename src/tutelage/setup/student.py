"""The network that is trained, before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import torch

from tutelage.config.overrides import blamed
from tutelage.config.schema import Config
from tutelage.models.architecture import read_architecture
from tutelage.models.build import build
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import build_for_classes, load_matching, read_checkpoint

DEFAULT_ARCH = "yolov7-tiny"


class StudentOrigin(NamedTuple):
    """With what a run began that goes on now; runs of the first versions do not say all of it.

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

    @classmethod
    def read(cls, progress: Mapping[str, Any]) -> Self:
        """Return what the progress of a saved run says."""
        known = {key: progress[key] for key in cls._fields if key in progress}
        if "anchors" in progress:  # the first versions knew anchor heads only
            known["head"] = {"anchors": progress["anchors"]} if progress["anchors"] else {}
        return cls(**known)

    @classmethod
    def of(cls, student: GraphDetector, start: str) -> Self:
        """Return what to save of a student."""
        return cls(student.head.training_state(), student.arch, student.arch_name, start)


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
    with blamed("model.weights", origins):
        checkpoint = read_checkpoint(weights)
    if arch is None:
        student, report = build_for_classes(checkpoint, names)
    else:
        student = build(arch, names)
        report = load_matching(student, checkpoint)
    head = f"model.{len(student.model) - 1}."
    taken = report.in_words(head, len(checkpoint.names), len(names))
    return student, f"{weights}: {taken}"
