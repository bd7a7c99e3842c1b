"""Properties of the task-aligned assigner, and a plain loop that it equals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses.loss_cases import random_targets
from tutelage.losses.boxes import centre_size, complete_iou
from tutelage.losses.side_distances import cell_centres
from tutelage.losses.task_aligned import Assignment, task_aligned
from tutelage.structures import Targets

GRIDS, STRIDES, SIZE = ((8, 12), (4, 6), (2, 3)), (8, 16, 32), (64, 96)
CELLS = sum(ny * nx for ny, nx in GRIDS)


def predictions(seed: int, images: int) -> tuple[Tensor, Tensor]:
    """Boxes around the cells, in float64, and class logits."""
    generator = torch.Generator().manual_seed(seed)
    centres, pixels = cell_centres(GRIDS, STRIDES, torch.empty(0).double())
    sides = 40 * torch.rand(images, CELLS, 4, generator=generator).double()
    centre = centres * pixels
    boxes = torch.cat((centre - sides[..., :2], centre + sides[..., 2:]), -1)
    return boxes, torch.randn(images, CELLS, 3, generator=generator).double()


def assign(boxes: Tensor, logits: Tensor, targets: Targets, **options: int) -> Assignment:
    return task_aligned(
        boxes, logits, targets, grids=GRIDS, strides=STRIDES, **{"bins": 16, **options}
    )


def by_loops(
    boxes: Tensor, logits: Tensor, targets: Targets, top: int, limit: float
) -> dict[tuple[int, int], tuple[int, float]]:
    """Image and cell to box and quality, box by box and cell by cell."""
    centres, pixels = cell_centres(GRIDS, STRIDES, boxes)
    claims: dict[tuple[int, int], list[tuple[float, int, float]]] = {}
    for row, (image, label) in enumerate(
        zip(targets.image.tolist(), targets.label.tolist(), strict=True)
    ):
        box = targets.xyxy[row].to(boxes)
        pairs = centre_size(box).expand(CELLS, 4), centre_size(boxes[image])
        iou = complete_iou(*pairs).clamp(0, 1)
        alignment = iou**6 * logits[image, :, label].sigmoid().sqrt()
        inside = []
        for cell in range(CELLS):
            x, y = (centres[cell] * pixels[cell]).tolist()
            sides = (x - box[0], y - box[1], box[2] - x, box[3] - y)
            if min(sides) >= 0 and max(sides) / pixels[cell] <= limit and alignment[cell] > 0:
                inside.append(cell)
        chosen = sorted(inside, key=lambda cell: -alignment[cell].item())[:top]
        if not chosen and alignment.max() > 0:
            chosen = [int(alignment.argmax())]
        for cell in chosen:
            claim = (iou[cell].item(), row, alignment[cell].item())
            claims.setdefault((image, cell), []).append(claim)
    kept = {place: max(all_, key=lambda claim: claim[0]) for place, all_ in claims.items()}
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for place, (_, row, alignment) in kept.items():
        own = [claim for claim in kept.values() if claim[1] == row]
        best, overlap = max(c[2] for c in own), max(c[0] for c in own)
        found[place] = (row, alignment / (best + 1e-9) * overlap)
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    boxes=st.integers(0, 25),
    top=st.integers(1, 12),
    bins=st.integers(3, 16),
)
def test_it_equals_plain_loops(seed: int, boxes: int, top: int, bins: int) -> None:
    xyxy, logits = predictions(seed, 3)
    targets = random_targets(torch.Generator().manual_seed(seed), 3, boxes, SIZE)
    found = assign(xyxy, logits, targets, top=top, bins=bins)
    expected = by_loops(xyxy, logits, targets, top, bins - 1.01)
    places = list(zip(found.image.tolist(), found.cell.tolist(), strict=True))
    assert places == sorted(expected)
    assert found.target.tolist() == [expected[place][0] for place in places]
    assert found.quality.tolist() == pytest.approx([expected[place][1] for place in places])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), boxes=st.integers(1, 40))
def test_what_always_holds(seed: int, boxes: int) -> None:
    xyxy, logits = predictions(seed, 2)
    targets = random_targets(torch.Generator().manual_seed(seed), 2, boxes, SIZE)
    found = assign(xyxy, logits, targets)
    places = found.image * CELLS + found.cell
    assert len(places.unique()) == len(places)
    assert torch.equal(targets.image[found.target], found.image)
    assert found.target.bincount(minlength=boxes).max() <= 10
    assert ((found.quality > 0) & (found.quality <= 1)).all()


def test_equal_boxes_share_nothing_and_the_first_wins() -> None:
    xyxy, logits = predictions(0, 1)
    twice = torch.tensor([[10.0, 10.0, 50.0, 50.0]]).repeat(2, 1)
    targets = Targets(torch.zeros(2).long(), torch.zeros(2).long(), twice)
    assert set(assign(xyxy, logits, targets).target.tolist()) == {0}


def test_a_box_without_a_cell_centre_takes_the_best_prediction_of_its_image() -> None:
    xyxy, logits = predictions(0, 2)
    small = torch.tensor([[12.5, 12.5, 15.5, 15.5]])
    xyxy[1, 5], xyxy[1, 9] = torch.tensor([[12.0, 12, 17, 16], [10.0, 11, 16, 16]]).double()
    targets = Targets(torch.tensor([1]), torch.tensor([2]), small)
    found = assign(xyxy, logits, targets)
    assert len(found.cell) == 1
    assert found.image.item() == 1
    pairs = centre_size(small.double()).expand(CELLS, 4), centre_size(xyxy[1])
    alignment = complete_iou(*pairs).clamp(0, 1) ** 6 * logits[1, :, 2].sigmoid().sqrt()
    assert found.cell.item() == alignment.argmax().item()


def test_a_box_that_no_prediction_overlaps_is_assigned_nothing() -> None:
    xyxy, logits = predictions(0, 1)
    targets = Targets(
        torch.tensor([0]), torch.tensor([0]), torch.tensor([[900.0, 900.0, 950.0, 950.0]])
    )
    assert len(assign(xyxy, logits, targets).cell) == 0


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    xyxy, logits = predictions(4, 3)
    targets = random_targets(torch.Generator().manual_seed(4), 3, 30, SIZE)
    whole = assign(xyxy, logits, targets)
    monkeypatch.setattr("tutelage.losses.task_aligned._PAIRS", 1)
    for expected, found in zip(whole, assign(xyxy, logits, targets), strict=True):
        assert torch.equal(expected, found)
