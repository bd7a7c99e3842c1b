"""Moving weights between models by name and shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.models.graph import GraphDetector


class TransferReport(NamedTuple):
    """What a transfer did.

    Attributes:
        matched: Tensors taken over.
        total: Tensors of the model that were looked for.
        skipped: Keys of those that were not found or have another shape.
    """

    matched: int
    total: int
    skipped: tuple[str, ...]


def matching(
    detector: GraphDetector, state: Mapping[str, Tensor], *, anchors: bool = False
) -> TransferReport:
    """Say what :func:`transfer` would do, without doing it."""
    wanted = {
        key: value for key, value in detector.state_dict().items() if anchors or "anchor" not in key
    }
    skipped = tuple(
        key for key, value in wanted.items() if key not in state or state[key].shape != value.shape
    )
    return TransferReport(len(wanted) - len(skipped), len(wanted), skipped)


@torch.no_grad()
def transfer(
    detector: GraphDetector, state: Mapping[str, Tensor], *, anchors: bool = False
) -> TransferReport:
    """Copy every tensor whose key and shape agree; the others keep their values.

    A head without implicit vectors (a deploy file) given to a head with them: they are set to have
    no effect, since the file's convolutions already contain theirs.

    Args:
        detector: The model to fill.
        state: State with keys ``model.<row>.<...>``.
        anchors: Whether the anchors are copied too; otherwise those of the yaml stay.

    Returns:
        What was copied.
    """
    report = matching(detector, state, anchors=anchors)
    own = detector.state_dict()
    skipped = set(report.skipped)
    for key, value in own.items():
        if key not in skipped and (anchors or "anchor" not in key):
            value.copy_(state[key])
    head = f"model.{len(detector.model) - 1}"
    for level in range(len(detector.strides)):
        shift, scale = f"{head}.ia.{level}.implicit", f"{head}.im.{level}.implicit"
        plain = f"{head}.m.{level}.weight" not in skipped and shift not in state
        if shift in own and plain:
            own[shift].zero_()
            own[scale].fill_(1)
    return report
