"""The training and the deploy form of a graph: heads with and without what only training needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tutelage.models.blocks.fold import Foldable

_ANCHORS = re.compile(r"model\.(\d+)\.anchors")
_CLASSES = re.compile(r"model\.(\d+)\.(?:cls_preds\.(\d+)\.weight|lead\.(\d+)\.cls\.2\.bias)")
_TRAINED = {"IDetect": 1, "IAuxDetect": 2}  # heads with implicit vectors: maps per level


class HeadForm(NamedTuple):
    """Where the head of a state is.

    Attributes:
        row: Its row in the graph.
        levels: Its pyramid levels.
    """

    row: int
    levels: int

    def key(self, part: str) -> str:
        """The key of one of its tensors."""
        return f"model.{self.row}.{part}"


def find_head(state: Mapping[str, Tensor]) -> HeadForm | None:
    """Find the head of a state by its anchors, or by its class convolutions where it has none."""
    for key, value in reversed(list(state.items())):
        found = _ANCHORS.fullmatch(key)
        if found:
            return HeadForm(int(found[1]), len(value) if value.dim() else 0)
    last = [found for found in map(_CLASSES.fullmatch, state) if found][-1:]
    return HeadForm(int(last[0][1]), int(last[0][2] or last[0][3]) + 1) if last else None


def plain_head(arch: Mapping[str, Any], *, drop: bool = False) -> dict[str, Any]:
    """Return a graph with Detect on its lead rows: implicit vectors are folded already.

    Args:
        arch: Yaml mapping; one that ends with another head stays as it is.
        drop: Leave out the auxiliary rows too, as official deploy files do: the last ones, one per
            level, which nothing but the auxiliary head reads.
    """
    match arch.get("head"):
        case [*rows, [list(sources), number, str(kind), args]] if kind in _TRAINED:
            levels = len(sources) // _TRAINED[kind]
            kept = rows[:-levels] if drop and _TRAINED[kind] == 2 else rows
            head = [*kept, [sources[:levels], number, "Detect", args]]
            return {"family": "yolov7", **arch, "head": head}
    return dict(arch)


def adapt_head(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the head of a state to that of a model, where both are forms of one graph.

    Auxiliary rows, one per level, stand before the head of a training form, so that its number
    differs from the deploy form's. Implicit vectors are folded for a head without them.

    Args:
        state: State of a checkpoint.
        own: State of the model.
    """
    given, wanted = find_head(state), find_head(own)
    fits = dict(state)
    if given is None or wanted is None or given.levels != wanted.levels:
        return fits
    if abs(given.row - wanted.row) not in (0, given.levels):
        return fits
    if given.key("ia.0.implicit") in state and wanted.key("ia.0.implicit") not in own:
        fits.update(_fold_implicit(state, given))
    old, new = given.key(""), wanted.key("")
    renamed = {new + key.removeprefix(old) if key.startswith(old) else key: key for key in fits}
    return {key: fits[source] for key, source in renamed.items()}


def _fold_implicit(state: Mapping[str, Tensor], head: HeadForm) -> dict[str, Tensor]:
    """The convolutions ``im * conv(x + ia)`` of a head as plain ones."""
    folded: dict[str, Tensor] = {}
    for level in range(head.levels):
        weight, bias = (head.key(f"m.{level}.{part}") for part in ("weight", "bias"))
        vectors = [head.key(f"{part}.{level}.implicit") for part in ("ia", "im")]
        if not all(key in state for key in (weight, bias, *vectors)):
            continue
        kernel, shift, scale = (state[key].float() for key in (weight, *vectors))
        moved = state[bias].float() + kernel.flatten(1) @ shift.flatten()
        folded[weight] = kernel * scale.view(-1, 1, 1, 1)
        folded[bias] = moved * scale.flatten()
    return folded


def fold_like(model: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Fold those blocks of a model in place that a state holds in their deploy form only."""
    for name, child in model.named_children():
        where = f"{prefix}{name}."
        if not isinstance(child, Foldable):
            fold_like(child, state, where)
        elif not all(where + key in state for key in child.state_dict()):
            with torch.no_grad():
                plain = child.deployed()
            if all(where + key in state for key in plain.state_dict()):
                model.register_module(name, plain)
