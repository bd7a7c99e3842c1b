from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.distill.fake_networks import (
    CHANNELS,
    GRIDS,
    NO_BOXES,
    SIZE,
    SOME_BOXES,
    boxes,
    knowledge,
)
from tutelage.distill.methods.defeat import DeFeat, assign_levels
from tutelage.structures import Knowledge, Targets


def own_level(box: list[float], levels: list[int], canonical: float) -> int:
    area = max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    wanted = math.floor(4 + math.log2(math.sqrt(area) / canonical)) if area else -100
    return max((level for level in levels if level <= wanted), default=min(levels))


def masks_by_loop(
    targets: Targets, grids: list[tuple[int, int]], size: tuple[int, int], canonical: float
) -> list[Tensor]:
    """Draw the foreground of two images one box after another."""
    masks = [torch.zeros(2, 1, h, w, dtype=torch.float64) for h, w in grids]
    levels = [round(math.log2(size[0] / h)) for h, _ in grids]
    for image, corners in zip(targets.image.tolist(), targets.xyxy.tolist(), strict=True):
        box = [min(max(c, 0), size[1 - i % 2]) for i, c in enumerate(corners)]
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        own = own_level(box, levels, canonical)
        for mask, level, grid in zip(masks, levels, grids, strict=True):
            if level != own:
                continue
            ends = [int(c * grid[1 - i % 2] / size[1 - i % 2]) for i, c in enumerate(box)]
            for y in range(ends[1], max(ends[3], ends[1] + 1)):
                for x in range(ends[0], max(ends[2], ends[0] + 1)):
                    mask[image, 0, y, x] = 1
    return masks


def expected_terms(
    method: DeFeat, student: Knowledge, teacher: Knowledge, masks: list[Tensor]
) -> dict[str, float]:
    """Write the formula with the mask repeated over channels."""
    terms = {"foreground": 0.0, "background": 0.0}
    triples = zip(method.connectors, student.features, teacher.features, strict=True)
    for (connector, s, t), mask in zip(triples, masks, strict=True):
        error = (connector(s) - t) ** 2
        inside = mask.expand_as(error)
        for name, weight, part in (
            ("foreground", method.foreground, inside),
            ("background", method.background, 1 - inside),
        ):
            share = (error * part).sum() / (2 * max(1.0, float(part.sum())))
            terms[name] += weight * share.item() / len(masks)
    return terms


coordinate = st.integers(-100, 800).map(lambda number: number / 8)
scenes = st.lists(st.tuples(st.integers(0, 1), *[coordinate] * 4), max_size=8)


@given(scene=scenes, canonical=st.floats(5, 300))
@settings(max_examples=80, deadline=None)
def test_equals_a_loop_over_boxes(scene: list, canonical: float) -> None:
    rows = [(i, min(a, c), min(b, d), max(a, c), max(b, d)) for i, a, b, c, d in scene]
    targets = boxes(rows, torch.float64)
    torch.manual_seed(0)
    method = DeFeat(CHANNELS, foreground=0.7, background=0.4, canonical=canonical).double()
    student, teacher = (
        knowledge(2, widths, seed, torch.float64)
        for seed, widths in enumerate(zip(*CHANNELS, strict=True))
    )
    found = method(student, teacher, targets, SIZE)
    masks = masks_by_loop(targets, list(GRIDS), SIZE, canonical)
    expected = expected_terms(method, student, teacher, masks)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize(
    ("side", "level"),
    [(1, 3), (111, 3), (223, 3), (224, 4), (447, 4), (448, 5), (895, 5), (4000, 5), (0, 3)],
)
def test_boxes_belong_to_the_level_of_their_size(side: float, level: int) -> None:
    xyxy = torch.tensor([[10.0, 20.0, 10.0 + side, 20.0 + side]])
    assert assign_levels(xyxy, [3, 4, 5], 224.0).tolist() == [level]
    assert assign_levels(xyxy, [5, 4, 4, 3], 224.0).tolist() == [level]  # in any order
    assert assign_levels(xyxy, [3, 5], 224.0).tolist() == [5 if level == 5 else 3]


def test_a_box_counts_on_its_level_only_and_on_every_map_of_it() -> None:
    grids, targets = ((6, 10), (3, 5), (6, 10)), boxes([(0, 0, 0, 16, 16)])
    method = DeFeat([(1, 1)] * 3, canonical=1000.0)
    student = Knowledge(tuple(torch.zeros(1, 1, *g, requires_grad=True) for g in grids))
    teacher = Knowledge(tuple(torch.full((1, 1, *g), 2.0) for g in grids))
    terms = method(student, teacher, targets, SIZE)
    assert terms["foreground"].item() == pytest.approx(3 * (2 + 0 + 2) / 3)
    assert terms["background"].item() == pytest.approx(12 * 2)


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((8, 8, 24, 16), 2),  # right and bottom exclusive
        ((8, 8, 25, 17), 2),  # ends are truncated
        ((9, 9, 10, 10), 1),  # at least one cell
        ((15, 9, 17, 10), 1),
        ((-30, -30, 17, 9), 2),  # clipped
        ((70, 40, 200, 200), 2),
        ((80, 0, 90, 48), 0),  # outside
        ((-9, 0, 0, 48), 0),
        ((9, 9, 9, 30), 0),  # no area
    ],
)
def test_cells_of_a_box(box: tuple[float, ...], cells: int) -> None:
    teacher = torch.zeros(1, 1, 6, 10)
    method = DeFeat([(1, 1)], background=0.0)
    method.connectors[0] = torch.nn.Identity()
    student = torch.ones(1, 1, 6, 10, requires_grad=True)
    (value,) = method(
        Knowledge((student,)), Knowledge((teacher,)), boxes([(0, *box)]), SIZE
    ).values()
    (gradient,) = torch.autograd.grad(value, student)
    assert int((gradient != 0).sum()) == cells
    assert value.item() == (1.5 if cells else 0)


def test_starts_near_zero_and_can_train() -> None:
    torch.manual_seed(0)
    method = DeFeat([(64, 64)])
    weight = method.connectors[0].weight
    assert weight.shape == (64, 64, 3, 3)
    assert float(weight.abs().max()) <= 2e-4
    assert float(weight.std()) == pytest.approx(0.88e-4, rel=0.02)  # of a normal cut at two
    assert not method.connectors[0].bias.any()


@pytest.mark.parametrize("option", ["foreground", "background"])
def test_a_term_with_weight_zero_is_left_out(option: str) -> None:
    torch.manual_seed(0)
    whole, part = DeFeat(CHANNELS), DeFeat(CHANNELS, **{option: 0.0})
    part.load_state_dict(whole.state_dict())
    student, teacher = knowledge(2, (4, 7), 1), knowledge(2, (8, 7), 2)
    expected = whole(student, teacher, SOME_BOXES, SIZE)
    del expected[option]
    torch.testing.assert_close(part(student, teacher, SOME_BOXES, SIZE), expected)


def test_without_weights_nothing_is_compared() -> None:
    with pytest.raises(ValueError, match="both 0"):
        DeFeat(CHANNELS, foreground=0.0, background=0.0)


def test_no_boxes_leave_the_foreground_zero_and_connected() -> None:
    student = Knowledge(tuple(f.requires_grad_() for f in knowledge(2, (4, 7), 1).features))
    terms = DeFeat(CHANNELS)(student, knowledge(2, (8, 7), 2), NO_BOXES, SIZE)
    assert terms["foreground"].item() == 0
    assert terms["foreground"].requires_grad
    assert terms["background"] > 0


def test_boxes_in_float64_do_not_raise_the_maps() -> None:
    targets = boxes([(0, 5, 5, 40, 30)], torch.float64)
    terms = DeFeat(CHANNELS)(knowledge(2, (4, 7), 1), knowledge(2, (8, 7), 2), targets, SIZE)
    assert all(value.dtype == torch.float32 for value in terms.values())
