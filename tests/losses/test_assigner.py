"""Tests of the assigners."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.losses.loop_assigners import loop_candidates, loop_simota
from tests.losses.loss_cases import ANCHORS, criterion, random_raw, random_targets, targets_of
from tutelage.losses.assigner import AROUND, NEAREST, Matches, anchor_candidates, simota
from tutelage.losses.boxes import centre_size
from tutelage.structures import Targets


def rows(matches: Matches) -> list[tuple[int, ...]]:
    return [tuple(row) for row in torch.stack(matches[:6], dim=1).tolist()]


def candidates(
    targets: Targets, size: tuple[int, int], max_ratio: float = 4.0, reach: float = NEAREST
) -> Matches:
    table = ANCHORS["yolov7"]
    return anchor_candidates(
        centre_size(targets.xyxy),
        targets.image,
        anchors=torch.tensor(table, dtype=targets.xyxy.dtype).view(3, 3, 2),
        strides=(8, 16, 32),
        grids=[(size[0] // s, size[1] // s) for s in (8, 16, 32)],
        max_ratio=max_ratio,
        reach=reach,
    )


def cells(targets: Targets, level: int = 0, anchor: int = 1) -> list[tuple[int, int]]:
    """Return (column, row) of the candidates of one anchor."""
    return [
        (r[4], r[3])
        for r in rows(candidates(targets, (128, 128)))
        if (r[0], r[2]) == (level, anchor)
    ]


@pytest.mark.parametrize(
    ("centre", "expected"),
    [
        ((8.3, 8.4), [(8, 8), (7, 8), (8, 7)]),
        ((8.7, 8.6), [(8, 8), (9, 8), (8, 9)]),
        ((0.7, 5.3), [(0, 5), (0, 4), (1, 5)]),
        ((0.3, 0.2), [(0, 0)]),
        ((15.7, 5.3), [(15, 5), (15, 4)]),
        ((1.0, 5.3), [(1, 5), (1, 4), (1, 5)]),
        ((8.0, 8.0), [(8, 8), (7, 8), (8, 7), (8, 8), (8, 8)]),
        ((16.4, -0.3), [(15, 0), (15, 0), (15, 0)]),
    ],
    ids=[
        "upper left",
        "lower right",
        "left edge",
        "corner",
        "right edge",
        "on line 1",
        "on a crossing",
        "outside",
    ],
)
def test_cells_of_a_box(centre, expected):
    x, y = centre
    assert cells(targets_of([[0, 0, x / 16, y / 16, 0.15, 0.25]], 128)) == expected


def test_ratio_limit_is_exclusive():
    def anchors_of(width: float) -> set[tuple[int, int]]:
        box = torch.tensor([[64 - width / 2, 60 - 8, 64 + width / 2, 60 + 8]])
        found = candidates(Targets(torch.tensor([0]), torch.tensor([0]), box), (128, 128))
        return {(r[0], r[2]) for r in rows(found)}

    assert (0, 0) in anchors_of(47.9)
    assert (0, 0) not in anchors_of(48.0)
    assert (0, 0) in anchors_of(3.1)
    assert (0, 0) not in anchors_of(3.0)


def test_a_box_without_area_has_no_candidates():
    flat = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([[20.0, 30.0, 60.0, 30.0]]))
    assert rows(candidates(flat, (128, 128))) == []


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(1, 4),
    st.integers(0, 12),
    st.sampled_from([(64, 64), (64, 128), (96, 32)]),
    st.sampled_from([1.5, 4.0, 9.0]),
    st.sampled_from([NEAREST, AROUND]),
)
def test_candidates_equal_the_loop_in_order(seed, images, boxes, size, max_ratio, reach):
    generator = torch.Generator().manual_seed(seed)
    targets = random_targets(generator, images, boxes, size)
    # Corners on multiples of 4 put many centres on grid lines, where the duplicates are.
    targets = targets._replace(xyxy=(targets.xyxy.double() / 4).round() * 4)
    found = candidates(targets, size, max_ratio, reach)
    anchors = torch.tensor(ANCHORS["yolov7"]).view(3, 3, 2)
    grids = [(size[0] // s, size[1] // s) for s in (8, 16, 32)]
    expected = loop_candidates(targets, anchors, (8, 16, 32), grids, max_ratio, reach)
    assert rows(found) == expected
    assert found.counts == tuple(Counter(row[0] for row in expected)[level] for level in range(3))


def simota_input(seed, images, boxes, size, classes):
    """Return candidates of random targets, many of them with a good prediction."""
    generator = torch.Generator().manual_seed(seed)
    targets = random_targets(generator, images, boxes, size, classes)
    found = candidates(targets, size)
    # A function of the cell, as real predictions are: what is listed twice is predicted once.
    cell = (
        ((found.level * 8 + found.image) * 3 + found.anchor) * 10_000
        + found.row * 100
        + found.column
    )
    _, cell = cell.unique(return_inverse=True)
    count = int(cell.max()) + 1 if len(cell) else 0
    nearest = torch.zeros(count, 4, dtype=torch.float64)
    nearest[cell] = targets.xyxy.double()[found.target]
    noise = torch.randn(count, 4, generator=generator, dtype=torch.float64) * 6
    scores = torch.rand(count, classes, generator=generator, dtype=torch.float64)
    return found, (nearest + noise)[cell], scores[cell], targets


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(1, 5),
    st.integers(0, 25),
    st.sampled_from([(64, 64), (64, 128)]),
    st.sampled_from([1, 3, 20]),
)
def test_simota_equals_the_loop(seed, images, boxes, size, classes):
    found, xyxy, scores, targets = simota_input(seed, images, boxes, size, classes)
    kept = simota(found, xyxy, scores, targets, images=images)
    expected = loop_simota(found, xyxy, scores, targets, images=images)
    assert rows(kept) == rows(expected)
    assert kept.counts == expected.counts


@pytest.mark.parametrize("max_pairs", [1, 500, 3000])
def test_simota_does_not_depend_on_its_turns(max_pairs):
    found, xyxy, scores, targets = simota_input(3, 4, 40, (128, 128), 3)
    whole = simota(found, xyxy, scores, targets, images=4)
    turns = simota(found, xyxy, scores, targets, images=4, max_pairs=max_pairs)
    assert rows(turns) == rows(whole)
    assert len(rows(whole)) > 40


@pytest.mark.parametrize("max_pairs", [1, 10_000], ids=["in turns", "at once"])
def test_simota_gives_what_two_equal_boxes_want_to_the_earlier(max_pairs):
    box = torch.tensor([[40.0, 40.0, 80.0, 80.0]])
    targets = Targets(torch.tensor([0, 0]), torch.tensor([1, 1]), box.repeat(2, 1))
    found = candidates(targets, (128, 128))
    scores = torch.full((len(found.level), 3), 0.5)
    xyxy = box.expand(len(scores), 4)
    kept = simota(found, xyxy, scores, targets, images=1, max_pairs=max_pairs)
    assert kept.target.tolist() == [0] * 10


def test_simota_gives_every_box_with_candidates_at_least_one_claim_and_at_most_the_pool():
    box = torch.tensor([[40.0, 40.0, 80.0, 80.0]])
    targets = Targets(torch.tensor([0]), torch.tensor([0]), box)
    found = candidates(targets, (128, 128))
    number = len(found.level)
    assert number > 10
    scores = torch.full((number, 3), 0.5)
    perfect = simota(found, box.expand(number, 4), scores, targets, images=1)
    assert len(perfect.level) == 10
    assert len(simota(found, box.expand(number, 4), scores, targets, images=1, pool=4).level) == 4
    missed = simota(found, box.expand(number, 4) + 500, scores, targets, images=1)
    assert len(missed.level) == 1


def test_simota_lets_a_box_without_area_compete_like_any_other():
    """Its IoU with the padding of a smaller image would be 0 / 0."""
    found, xyxy, scores, targets = simota_input(1, 3, 20, (128, 128), 3)
    smallest = found.image.bincount(minlength=3).argmin()
    flat = Targets(smallest[None], torch.tensor([0]), torch.tensor([[30.0, 30.0, 30.0, 50.0]]))
    targets = Targets(*(torch.cat(pair) for pair in zip(targets, flat, strict=True)))
    kept = simota(found, xyxy, scores, targets, images=3)
    assert rows(kept) == rows(loop_simota(found, xyxy, scores, targets, images=3))
    assert kept.target.max() == 20


def test_simota_shares_no_candidate_between_images():
    """Two images with the same box: each keeps candidates of its own only."""
    box = torch.tensor([[40.0, 40.0, 80.0, 80.0]]).repeat(2, 1)
    targets = Targets(torch.tensor([1, 0]), torch.tensor([0, 2]), box)
    found = candidates(targets, (128, 128))
    scores = torch.rand(len(found.level), 3, generator=torch.Generator().manual_seed(0))
    kept = simota(found, box[:1].expand(len(found.level), 4), scores, targets, images=2)
    assert torch.equal(targets.image[kept.target], kept.image)
    assert set(kept.image.tolist()) == {0, 1}


def test_simota_survives_scores_of_zero_and_one():
    """Float rounding saturates scores; an infinite cost would leave boxes without a match."""
    box = torch.tensor([[40.0, 40.0, 80.0, 80.0]])
    targets = Targets(torch.tensor([0]), torch.tensor([1]), box)
    found = candidates(targets, (128, 128))
    number = len(found.level)
    for value in (0.0, 1.0):
        scores = torch.full((number, 3), value)
        assert len(simota(found, box.expand(number, 4), scores, targets, images=1).level) == 10


class Ledger(TorchDispatchMode):
    """Counts operations and remembers the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
def test_a_step_takes_the_same_operations_for_few_and_for_many_boxes(assigner):
    """No Python loop over images or boxes anywhere in the loss."""
    counts = []
    for images, boxes in ((3, 60), (9, 300)):
        generator = torch.Generator().manual_seed(0)
        raw = random_raw(generator, images, (64, 64))
        targets = random_targets(generator, images, boxes, (64, 64))
        targets.xyxy.add_(torch.tensor([-20, -20, 20, 20]))  # large enough for every level
        measure = criterion(assigner=assigner)
        assert all(measure.match(raw, targets).counts)
        with Ledger() as ledger:
            sum(measure(raw, targets, (64, 64)).values()).backward()
        counts.append(ledger.operations)
    assert counts[0] == counts[1]


def test_simota_makes_no_tensor_of_boxes_candidates_and_classes():
    found, xyxy, scores, targets = simota_input(0, 1, 100, (128, 128), 80)
    number, boxes = len(scores), len(targets.label)
    with Ledger() as ledger:
        simota(found, xyxy, scores, targets, images=1)
    assert ledger.largest <= 6 * boxes * number
    with Ledger() as ledger:
        simota(found, xyxy, scores, targets, images=1, max_pairs=number)
    assert ledger.largest <= scores.numel()
