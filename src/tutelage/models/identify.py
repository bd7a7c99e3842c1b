"""Which architecture a state dict is of, told by its keys and shapes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.models.architecture import read_architecture
from tutelage.models.catalog import ARCHITECTURES, MAX_WIDTH, named
from tutelage.models.forms import fold_as, head_of, plain_head
from tutelage.models.graph import GraphDetector


def identify(state: Mapping[str, Tensor], classes: int) -> dict[str, Any] | None:
    """Return the yaml mapping of the known architecture that has these tensors, or None.

    Any width is found; anchors are not compared, and blocks may be folded.

    Args:
        state: State with keys ``model.<row>.<...>``.
        classes: Number of classes of its head.
    """
    head = head_of(state)
    for mapping in _candidates(state, head.row + 1) if head else ():
        try:
            arch = read_architecture(mapping, name="graph", classes=classes)
            with torch.device("meta"):
                detector = GraphDetector(arch, tuple(map(str, range(classes))))
        except ConfigError:
            continue
        fold_as(detector, state)
        if _shapes(detector.state_dict()) == _shapes(state):
            return mapping
    return None


def _candidates(state: Mapping[str, Tensor], rows: int) -> Iterator[dict[str, Any]]:
    """Graphs with that many rows, at the width of the convolutions and at their own."""
    bare = not any(".ia." in key for key in state)
    for name, variant in ARCHITECTURES.items():
        mapping = plain_head(named(name), drop=True) if bare else named(name)
        body = [*mapping["backbone"], *mapping["head"]]
        if len(body) == rows:
            for width in dict.fromkeys((_width(state, body), variant.width)):
                if 0 < width <= MAX_WIDTH:
                    yield {**mapping, "width_multiple": width}


def _width(state: Mapping[str, Tensor], body: list[Any]) -> float:
    """The largest width multiple that no convolution exceeds: channels are rounded up."""
    ratios: list[float] = []
    for index, row in enumerate(body):
        kernel = state.get(f"model.{index}.conv.weight")
        if kernel is not None and kernel.dim() == 4:
            ratios.append(len(kernel) / row[3][0])
    return min(ratios, default=0.0)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items() if "anchor" not in key}
