"""Criteria, inputs and comparisons shared by the loss tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.config.schema import LossConfig
from tutelage.losses import AnchorCriterion
from tutelage.structures import Targets

ANCHORS = {
    "yolov7-tiny": (
        (10, 13, 16, 30, 33, 23),
        (30, 61, 62, 45, 59, 119),
        (116, 90, 156, 198, 373, 326),
    ),
    "yolov7": ((12, 16, 19, 36, 40, 28), (36, 75, 76, 55, 72, 146), (142, 110, 192, 243, 459, 401)),
    "yolov7-w6": (
        (19, 27, 44, 40, 38, 94),
        (96, 68, 86, 152, 180, 137),
        (140, 301, 303, 264, 238, 542),
        (436, 615, 739, 380, 925, 792),
    ),
}
ANCHORS["yolov5s"] = ANCHORS["yolov7-tiny"]
TERMS = ("box", "obj", "cls")
BOXES = (
    (0, 1, 0.5, 0.5, 0.3, 0.4),
    (0, 0, 0.2, 0.3, 0.1, 0.15),
    (0, 2, 0.22, 0.31, 0.12, 0.14),
    (1, 2, 0.85, 0.1, 0.25, 0.18),
    (1, 1, 0.999, 0.999, 0.05, 0.05),
)
SIZE = (64, 96)


def criterion(
    anchors: str = "yolov7-tiny",
    *,
    assigner: str = "ota",
    classes: int = 3,
    scaling: str = "none",
    image_size: int = 128,
    kind: type[AnchorCriterion] = AnchorCriterion,
    **config: float,
) -> AnchorCriterion:
    """Return the criterion of a named model."""
    table = ANCHORS[anchors]
    return kind(
        anchors=torch.tensor(table, dtype=torch.float32).view(len(table), -1, 2),
        strides=[8 * 2**level for level in range(len(table))],
        classes=classes,
        config=LossConfig(scaling=scaling, **config),
        assigner=assigner,
        image_size=image_size,
    )


def targets_of(rows: Sequence[Sequence[float]] | Tensor, size: int) -> Targets:
    """Return targets from normalised rows of (image, class, cx, cy, w, h)."""
    table = torch.as_tensor(rows, dtype=torch.float64).reshape(-1, 6)
    centre, half = table[:, 2:4] * size, table[:, 4:] * size / 2
    corners = torch.cat((centre - half, centre + half), dim=1)
    return Targets(table[:, 0].long(), table[:, 1].long(), corners.float())


def random_raw(
    generator: torch.Generator,
    images: int,
    image_size: tuple[int, int],
    classes: int = 3,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """Return random logits of three levels, laid out as a channels-last convolution leaves them."""
    height, width = image_size
    return [
        torch.randn(
            images,
            height // s,
            width // s,
            3,
            5 + classes,
            generator=generator,
            dtype=torch.float64,
        )
        .to(dtype)
        .permute(0, 3, 1, 2, 4)
        .requires_grad_()
        for s in (8, 16, 32)
    ]


def random_targets(
    generator: torch.Generator,
    images: int,
    boxes: int,
    image_size: tuple[int, int],
    classes: int = 3,
) -> Targets:
    """Return ``boxes`` random boxes, unevenly spread over the images, in random order."""
    height, width = image_size
    centre = torch.rand(boxes, 2, generator=generator) * torch.tensor([width, height])
    size = 4 + 60 * torch.rand(boxes, 2, generator=generator)
    return Targets(
        (torch.rand(boxes, generator=generator) ** 2 * images).long(),
        torch.randint(classes, (boxes,), generator=generator),
        torch.cat((centre - size / 2, centre + size / 2), dim=1),
    )


def assert_terms(found, expected, names=TERMS):
    for name in names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)
