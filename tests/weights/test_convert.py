"""What keys, shapes and yaml say about a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.weights.checkpoints import SHARED, needs_shared
from tutelage.errors import WeightsError
from tutelage.weights import read_foreign
from tutelage.weights.convert import (
    WeightsForm,
    block_names,
    infer_form,
    normalise_names,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
ANCHORS = torch.tensor([[[10.0, 13.0], [16.0, 30.0]], [[30.0, 61.0], [62.0, 45.0]]])
STRIDES = (8, 16)


def state(*extra: str, row: int = 9, grid: bool = True) -> dict[str, Tensor]:
    """A head's buffers and one key per extra name."""
    found = {f"model.{row}.anchors": ANCHORS / torch.tensor(STRIDES).view(2, 1, 1)}
    if grid:
        found[f"model.{row}.anchor_grid"] = ANCHORS.view(2, 1, 2, 1, 1, 2)
    return {
        "model.0.conv.weight": torch.zeros(1),
        **found,
        **{key: torch.zeros(1) for key in extra},
    }


def yaml(*blocks: str) -> dict[str, Any]:
    return {"backbone": [[-1, 1, block, []] for block in blocks], "head": [[-1, 1, "Detect", []]]}


@pytest.mark.parametrize(
    ("found", "graph", "head", "expected"),
    [
        # family, implicit, auxiliary, fused, reparameterised, deploy
        (
            state("model.9.ia.0.implicit", "model.9.im.0.implicit"),
            yaml("Conv"),
            "IDetect",
            ("yolov7", True, False, False, False, False),
        ),
        (
            state("model.9.ia.0.implicit", "model.9.m2.0.weight"),
            yaml("Conv"),
            "IAuxDetect",
            ("yolov7", True, True, False, False, False),
        ),
        (state(), yaml("Conv", "SPPCSPC"), "Detect", ("yolov7", False, False, False, False, True)),
        (
            state("model.1.rbr_reparam.weight"),
            yaml("RepConv"),
            "Detect",
            ("yolov7", False, False, False, True, True),
        ),
        (
            state("model.0.conv.bias"),
            yaml("Conv"),
            "IDetect",
            ("yolov7", False, False, True, False, True),
        ),
        (
            state(grid=False),
            yaml("Conv", "C3", "SPPF"),
            "Detect",
            ("yolov5", False, False, False, False, False),
        ),
        (state(grid=False), {}, "", ("yolov5", False, False, False, False, False)),
        (
            state(),
            yaml("Focus", "C3", "SPP"),
            "Detect",
            ("yolov5", False, False, False, False, False),
        ),
        (
            state(),
            yaml("Focus", "BottleneckCSP"),
            "Detect",
            ("yolov5", False, False, False, False, False),
        ),
        (
            state("model.9.m.0.bias"),
            yaml("C3"),
            "Detect",
            ("yolov5", False, False, False, False, False),
        ),
    ],
    ids=[
        "training",
        "auxiliary",
        "deploy",
        "reparameterised",
        "fused",
        "v5 6.0",
        "v5 bare",
        "v5 5.0",
        "v5 3.0",
        "head bias is no fusion",
    ],
)
def test_form(
    found: dict[str, Tensor], graph: dict[str, Any], head: str, expected: tuple[Any, ...]
) -> None:
    made = infer_form(found, graph, head)
    assert (
        made.family,
        made.implicit,
        made.auxiliary,
        made.fused,
        made.reparameterised,
        made.deploy,
    ) == expected


def test_anchors_come_from_the_buffer_not_from_the_yaml() -> None:
    searched = {
        "model.2.m.0.weight": torch.ones(50, 8, 1, 1),
        "model.3.anchors": torch.ones(4, 5, 2),
        "model.3.m.0.weight": torch.ones(45, 8, 1, 1),
    }
    assert infer_form(searched, {"anchors": 3}).classes == 4


@pytest.mark.parametrize(
    "bad", [{}, {"model.3.anchors": torch.ones(3, 6)}, {"model.3.anchors": torch.ones(0, 3, 2)}]
)
def test_no_anchor_head(bad: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"no detection head that is known .*DualDDetect"):
        infer_form(bad, {}, "DualDDetect")


def test_published_checkpoint() -> None:
    found = read_foreign(GOLDEN / "yolov7-tiny-w025-stripped.pt")
    made = infer_form(found.state, found.yaml, found.head)
    assert made == WeightsForm(
        "yolov7", 3, implicit=True, auxiliary=False, fused=False, reparameterised=False
    )
    assert block_names(found.yaml)[:2] == ["Conv", "Conv"]
    assert len(block_names(found.yaml)) == 78


@needs_shared
def test_yolov5_of_2022() -> None:
    found = read_foreign(SHARED / "real-yolov5n-ppe.pt")
    made = infer_form(found.state, found.yaml, found.head)
    assert (made.family, made.deploy) == ("yolov5", False)


@pytest.mark.parametrize(
    ("names", "nc", "expected"),
    [
        (None, 2, ("0", "1")),
        (["a", 5], 2, ("a", "5")),
        ({1: "b", 0: "a"}, 2, ("a", "b")),
        (["a", "b", "c"], 2, ("0", "1")),
    ],
)
def test_names(names: object, nc: int, expected: tuple[str, ...]) -> None:
    assert normalise_names(names, nc) == expected
