"""The detection loss of YOLOX (Ge et al., 2021, arXiv:2107.08430)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.losses.assigner import select_candidates
from tutelage.losses.boxes import at_least_float32, centre_size, corners
from tutelage.losses.cells import cells_of, decode_cells, encode_cells
from tutelage.losses.criterion import Criterion
from tutelage.losses.gather import pick
from tutelage.structures import Targets

GAINS: Mapping[str, float] = MappingProxyType({"box": 5.0, "obj": 1.0, "cls": 1.0, "l1": 1.0})
"""Of the terms, as published; they have no settings."""

NOMINAL = 64
"""Images of a batch to which the published learning rate of 0.01 belongs: it is one per image."""

RADIUS = 1.5
"""Cells may predict a box whose centre is nearer than this along both axes, in cells."""

_LOWEST_LOG = -100.0  # of a probability
_TINY = 1e-16  # square pixels


class YOLOXCriterion(Criterion):
    """Box, objectness and class loss of a head that predicts one box per cell.

    SimOTA assigns cells to boxes, among the cells around their centres. All terms are sums over
    the batch divided by the number of assigned cells:

    - ``box``: 1 - IoU², of the assigned cells;
    - ``obj``: binary cross-entropy of all cells; the target is 1 where a box is assigned;
    - ``cls``: binary cross-entropy of the assigned cells; the target of the box's class is the IoU;
    - ``l1``: difference of the box logits from those of the box, in the last epochs, which are
      without mosaic (``augment.close_mosaic``).

    The objective multiplies by the number of images: the gains are those of one image of 64.
    Computed in float32 whatever autocast says (float64 stays float64). The state dict is empty.

    Args:
        strides: Pixels per cell, per level.
        classes: Number of classes.
    """

    def __init__(self, strides: Sequence[int], classes: int) -> None:
        super().__init__()
        self.strides, self.classes = tuple(strides), classes
        self.closing = False

    def begin_epoch(self, *, closing: bool) -> None:
        """As :meth:`Criterion.begin_epoch`: the closing epochs have the term ``l1``."""
        self.closing = closing

    def describe(self) -> str:
        """Return the gains, as published."""
        gains = " · ".join(f"{name} {gain:g}" for name, gain in GAINS.items())
        return (
            f"{gains} in the epochs of augment.close_mosaic "
            f"(YOLOX's own; an image counts 1/{NOMINAL})"
        )

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms; see :meth:`Criterion.forward`.

        Args:
            raw: Logits ``(b, 1, ny, nx, 5 + classes)`` per level: x, y, w, h, objectness, classes.
            targets: The boxes, in pixels of the canvas.
            image_size: Height and width of the canvas in pixels.

        Raises:
            ValueError: If ``raw`` is not of these levels, classes and this canvas.
        """
        self._check(raw, image_size)
        with torch.autocast(raw[0].device.type, enabled=False):
            values, cells = _flat(raw), cells_of(raw, self.strides)
            assigned = self._assign(raw, values.detach(), cells, targets)
            image, cell = torch.where(assigned >= 0)
            target, own, only = assigned[image, cell], cells[cell], torch.zeros_like(cell)
            picked, objectness = pick(values[:, None, None], (image, only, only, cell))
            box, logits = picked[:, :4], picked[:, 5:]
            wanted = centre_size(targets.xyxy.to(values.dtype))[target]
            iou = _iou(decode_cells(box, own), wanted)
            labels = torch.zeros_like(logits).scatter_(
                1, targets.label[target, None], iou.detach()[:, None]
            )
            terms = {
                "box": (1 - iou.square()).sum(),
                "obj": _entropy(objectness[:, 0, 0], (assigned >= 0).to(values.dtype)),
                "cls": _entropy(logits, labels),
            }
            if self.closing:
                terms["l1"] = (box - encode_cells(wanted, own)).abs().sum()
        number = max(len(target), 1) * NOMINAL
        return {name: GAINS[name] / number * value for name, value in terms.items()}

    @torch.no_grad()
    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """As :meth:`Criterion.answers`; predictions ordered by level, row, column."""
        return self._assign(raw, _flat(raw), cells_of(raw, self.strides), targets)

    @torch.no_grad()
    def _assign(
        self, raw: Sequence[Tensor], values: Tensor, cells: Tensor, targets: Targets
    ) -> Tensor:
        """Return the box of each cell, ``(b, n)``, or -1.

        Args:
            raw: As of :meth:`forward`; for its shapes.
            values: ``(b, n, 5 + classes)`` the same, flat.
            cells: ``(n, 3)`` of :func:`cells_of`.
            targets: The boxes.
        """
        centres = centre_size(targets.xyxy.to(values.dtype))[:, :2]
        grids = [(level.shape[2], level.shape[3]) for level in raw]
        image, cell = torch.where(
            cells_near(centres, targets.image, grids, self.strides, len(values))
        )
        picked, own = values[image, cell], cells[cell]
        box, objectness, logits = picked.split((4, 1, self.classes), -1)
        scores = (logits.sigmoid() * objectness.sigmoid()).sqrt()
        assigned = torch.full(values.shape[:2], -1, device=values.device)
        assigned[image, cell] = select_candidates(
            image,
            corners(decode_cells(box, own)),
            scores.log().clamp(min=_LOWEST_LOG),
            torch.log1p(-scores).clamp(min=_LOWEST_LOG),
            targets,
            images=len(values),
            reach=_reach(own),
        )
        return assigned

    def _check(self, raw: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        height, width = image_size
        channels = 5 + self.classes
        expected = [(1, height // s, width // s, channels) for s in self.strides]
        found = [tuple(level.shape[1:]) for level in raw]
        if found != expected:
            raise ValueError(
                f"expected raw outputs (b, 1, ny, nx, 5 + classes) with {expected} after the "
                f"batch dimension for an image of {height} x {width}, got {found}"
            )


@torch.no_grad()
def cells_near(
    centres: Tensor,
    image: Tensor,
    grids: Sequence[tuple[int, int]],
    strides: Sequence[int],
    images: int,
) -> Tensor:
    """Mark the cells whose middle is nearer than ``RADIUS`` cells to the centre of a box.

    Args:
        centres: ``(t, 2)`` x and y of the boxes' centres in pixels.
        image: ``(t,)`` int64, their images.
        grids: Rows and columns per level.
        strides: Pixels per cell, per level.
        images: Number of images in the batch.

    Returns:
        ``(images, n)`` bool, cells ordered by level, row, column.
    """
    around = torch.cartesian_prod(*[torch.arange(-1, 2, device=image.device)] * 2)
    levels = []
    for (rows, columns), stride in zip(grids, strides, strict=True):
        cell = (centres / stride).floor().long()[:, None] + around
        distance = ((cell + 0.5) * stride - centres[:, None]).abs().amax(-1)
        size = cell.new_tensor([columns, rows])
        near = (distance < RADIUS * stride) & ((cell >= 0) & (cell < size)).all(-1)
        place = (image[:, None] * rows + cell[..., 1]) * columns + cell[..., 0]
        marks = torch.zeros(images * rows * columns, dtype=torch.bool, device=image.device)
        marks[place[near]] = True
        levels.append(marks.view(images, -1))
    return torch.cat(levels, 1)


def _reach(cells: Tensor) -> Tensor:
    """Return the middle and the reach of cells in pixels, ``(n, 3)``."""
    place, stride = cells.split((2, 1), -1)
    return torch.cat((place + 0.5, torch.full_like(stride, RADIUS)), -1) * stride


def _flat(raw: Sequence[Tensor]) -> Tensor:
    """Join the levels: ``(b, n, 5 + classes)``, at least float32."""
    return torch.cat([at_least_float32(level).flatten(1, 3) for level in raw], 1)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of pairs of centre-size boxes ``(n, 4)``."""
    (a1, a2), (b1, b2) = (corners(box).split(2, -1) for box in (a, b))
    sides = (torch.minimum(a2, b2) - torch.maximum(a1, b1)).clamp(min=0)
    inter, areas = sides.prod(-1), a[:, 2:].prod(-1) + b[:, 2:].prod(-1)
    return inter / (areas - inter + _TINY)


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the binary cross-entropy."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
