"""Identify the architecture of a state dict by its keys and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.models.architecture import read_architecture
from tutelage.models.catalog import ARCHITECTURES, MAX_WIDTH, named
from tutelage.models.graph import GraphDetector
from tutelage.models.head_forms import find_head, fold_like, plain_head
from tutelage.models.heads import Detect
from tutelage.models.meta_device import without_values


def identify(state: Mapping[str, Tensor], classes: int) -> dict[str, Any] | None:
    """Return the yaml mapping of the known architecture that has these tensors, or None.

    Any width multiple is recognised; anchors are not compared, and blocks may be folded.

    Args:
        state: State with keys ``model.<row>.<...>``.
        classes: Number of classes of its head.
    """
    head = find_head(state)
    for mapping in _candidates(state, head.row + 1) if head else ():
        try:
            arch = read_architecture(mapping, name="graph", classes=classes)
            with without_values():
                detector = GraphDetector(arch, tuple(map(str, range(classes))))
        except ConfigError:
            continue
        fold_like(detector, state)
        own, given = _shapes(detector.state_dict()), _shapes(state)
        unread = tuple(f"model.{row}." for row in detector.auxiliary)
        if type(detector.head) is Detect:  # a folded file may have left these rows out
            own = {key: shape for key, shape in own.items() if not key.startswith(unread)}
            given = {key: shape for key, shape in given.items() if not key.startswith(unread)}
        if own == given:
            return mapping
    return None


def _candidates(state: Mapping[str, Tensor], rows: int) -> Iterator[dict[str, Any]]:
    """Yield graphs of ``rows`` rows, at the width of the convolutions and at the published one."""
    bare = not any(".ia." in key for key in state)
    for name, variant in ARCHITECTURES.items():
        full = named(name)
        forms = [plain_head(full, drop=True), plain_head(full)] if bare else [full]
        for mapping in forms:
            body = [*mapping["backbone"], *mapping["head"]]
            if len(body) != rows:
                continue
            for width in dict.fromkeys((_width(state, body), variant.width)):
                if 0 < width <= MAX_WIDTH:
                    yield {**mapping, "width_multiple": width}
            break


def _width(state: Mapping[str, Tensor], body: list[Any]) -> float:
    """Return the largest width multiple that every convolution reaches: channels round up."""
    ratios: list[float] = []
    for index, row in enumerate(body):
        kernel = state.get(f"model.{index}.conv.weight")
        if kernel is not None and kernel.dim() == 4 and isinstance(row[3][0], int):
            ratios.append(len(kernel) / row[3][0])
    return min(ratios, default=0.0)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items() if "anchor" not in key}
