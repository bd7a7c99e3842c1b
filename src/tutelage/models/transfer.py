"""Copy weights between models by name and shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.models.graph import GraphDetector


class TransferReport(NamedTuple):
    """The result of a transfer.

    Attributes:
        matched: Number of copied tensors.
        total: Number of tensors of the model.
        skipped: Keys of the model that the checkpoint lacks or has in another shape.
        left: Unused keys of the checkpoint, without anchors that were not requested.
        grey: Whether the first convolution was summed over RGB, see :func:`adapt_stem`.
    """

    matched: int
    total: int
    skipped: tuple[str, ...]
    left: tuple[str, ...] = ()
    grey: bool = False

    def in_words(self, head: str, before: int, after: int) -> str:
        """Return the result as text for a user.

        Args:
            head: Prefix of the head's keys, e.g. ``model.77.``.
            before: Classes of the checkpoint.
            after: Classes of the model.
        """
        outputs = sum(key.startswith(head) for key in self.skipped)
        others, left = len(self.skipped) - outputs, len(set(self.left) - set(self.skipped))
        notes = [
            f"head is new: {before} → {after} classes" * bool(outputs and before != after),
            f"{outputs} new in the head" * bool(outputs and before == after),
            f"{others} new elsewhere" * bool(others),
            f"{left} of the file left" * bool(left),
            "first convolution summed over RGB" * self.grey,
        ]
        text = f"{self.matched} of {self.total} tensors"
        return f"{text} ({', '.join(filter(None, notes))})" if any(notes) else text


def adapt_stem(detector: GraphDetector, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sum the first convolution of a model of RGB over its colours, for a model of grey.

    On grey images, whose three channels are equal, both give the same.

    Args:
        detector: The model to fill; unless it is one of grey, nothing changes.
        state: State with keys ``model.<row>.<...>``.
    """
    kernels = {key: x.shape for key, x in detector.state_dict().items() if x.ndim == 4}
    first = next(iter(kernels), "model.0").split(".")[1]
    adapted = dict(state)
    for key, (out, channels, *size) in kernels.items():
        fits = key in state and state[key].shape == (out, 3 * channels, *size)
        if detector.image_channels == 1 and fits and key.startswith(f"model.{first}."):
            adapted[key] = state[key].float().unflatten(1, (channels, 3)).sum(2)
    return adapted


def compare_states(
    detector: GraphDetector, state: Mapping[str, Tensor], *, anchors: bool = False
) -> TransferReport:
    """Return the report of a :func:`transfer` without copying anything."""
    kept = _kept(detector, anchors=anchors)
    wanted = {key: value for key, value in detector.state_dict().items() if key not in kept}
    skipped = tuple(
        key for key, value in wanted.items() if key not in state or state[key].shape != value.shape
    )
    taken = wanted.keys() - set(skipped)
    stored = detector.head.coding_buffers  # some releases store them twice
    left = tuple(
        key
        for key in state
        if key not in taken and (key.rpartition(".")[2] not in stored or key in wanted)
    )
    return TransferReport(len(taken), len(wanted), skipped, left)


def _kept(detector: GraphDetector, *, anchors: bool) -> set[str]:
    """Return the keys of the buffers that define what the head's outputs mean."""
    last = len(detector.model) - 1
    return set() if anchors else {f"model.{last}.{name}" for name in detector.head.coding_buffers}


@torch.no_grad()
def transfer(
    detector: GraphDetector, state: Mapping[str, Tensor], *, anchors: bool = False
) -> TransferReport:
    """Copy every tensor whose key and shape agree; the others keep their values.

    If the state has no implicit vectors (a deploy file), those of the model are set to have no
    effect: the convolutions of the file already contain them.

    Args:
        detector: The model to fill.
        state: State with keys ``model.<row>.<...>``.
        anchors: Whether the anchors are copied too.
    """
    report = compare_states(detector, state, anchors=anchors)
    own = detector.state_dict()
    skipped = set(report.skipped)
    kept = _kept(detector, anchors=anchors)
    for key, value in own.items():
        if key not in skipped | kept:
            value.copy_(state[key])
    head = f"model.{len(detector.model) - 1}"
    for level in range(len(detector.strides)):
        shift, scale = f"{head}.ia.{level}.implicit", f"{head}.im.{level}.implicit"
        plain = f"{head}.m.{level}.weight" not in skipped and shift not in state
        if shift in own and plain:
            own[shift].zero_()
            own[scale].fill_(1)
    return report
