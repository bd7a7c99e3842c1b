"""The loss of YOLOX: equal to the published one, and what its assigner promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.losses.boxes import corners
from tutelage.losses.cells import cells_of, decode_cells, encode_cells
from tutelage.losses.yolox import NOMINAL, RADIUS, YOLOXCriterion, cells_near
from tutelage.structures import Targets

GOLDEN = Path(__file__).parents[1] / "golden" / "losses" / "yolox.npz"
STRIDES, CLASSES, IMAGES, SIZE = (8, 16, 32), 3, 3, (160, 128)
ITEMS = ("box", "obj", "cls", "l1")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def golden_raw() -> list[Tensor]:
    """The raw outputs of the golden file, as its README says."""
    random = np.random.RandomState(11)
    levels = []
    for stride in STRIDES:
        shape = (IMAGES, 5 + CLASSES, SIZE[0] // stride, SIZE[1] // stride)
        level = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
        level[:, :4] = 0.4 * level[:, :4] + torch.tensor([0.5, 0.5, 1.2, 1.2])[:, None, None]
        levels.append(level.permute(0, 2, 3, 1)[:, None].contiguous().requires_grad_())
    return levels


def as_targets(rows: Tensor) -> Targets:
    return Targets(rows[:, 0].long(), rows[:, 1].long(), rows[:, 2:])


def no_boxes() -> Targets:
    return as_targets(torch.zeros(0, 6))


@pytest.mark.parametrize("case", ["l1", "plain", "empty"])
def test_terms_gradients_and_assignments_are_the_published_ones(
    golden: dict[str, Tensor], case: str
) -> None:
    raw, criterion = golden_raw(), YOLOXCriterion(STRIDES, CLASSES)
    targets = no_boxes() if case == "empty" else as_targets(golden["targets"])
    criterion.begin_epoch(closing=case != "plain")
    assert torch.equal(criterion.answers(raw, targets), golden[f"{case}_assigned"].long())
    terms = criterion(raw, targets, SIZE)
    total, *items = golden[f"{case}_items"].tolist()
    found = {name: NOMINAL * float(value.detach()) for name, value in terms.items()}
    expected = dict(zip(ITEMS, items, strict=True))
    if case == "plain":
        assert not expected.pop("l1")
    assert found == pytest.approx(expected, rel=1e-5)
    assert sum(found.values()) == pytest.approx(total, rel=1e-5)
    if case == "plain":
        return
    (NOMINAL * sum(terms.values())).backward()
    for level, maps in enumerate(raw):
        wanted = golden[f"{case}_grad_{level}"].permute(0, 2, 3, 1)[:, None]
        torch.testing.assert_close(
            maps.grad, wanted, rtol=1e-5, atol=1e-5 * wanted.abs().max().item()
        )


def test_images_of_a_batch_do_not_matter_to_each_other(golden: dict[str, Tensor]) -> None:
    raw, targets = golden_raw(), as_targets(golden["targets"])
    criterion = YOLOXCriterion(STRIDES, CLASSES)
    together = criterion.answers(raw, targets)
    for image in range(IMAGES):
        rows = torch.where(targets.image == image)[0]
        own = Targets(torch.zeros_like(rows), targets.label[rows], targets.xyxy[rows])
        alone = criterion.answers([level[image : image + 1] for level in raw], own)[0]
        mapped = torch.where(alone >= 0, rows[alone] if len(rows) else alone, -1)
        assert torch.equal(mapped, together[image])


scenes = st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from([0.3, 3.0, 30.0]))


def scene(seed: int, boxes: int, spread: float) -> tuple[list[Tensor], Targets]:
    """Raw outputs and boxes of two images of 96 x 64 pixels; often none in one of them."""
    generator = torch.Generator().manual_seed(seed)
    raw = [
        spread * torch.randn(2, 1, 96 // s, 64 // s, 5 + CLASSES, generator=generator)
        for s in STRIDES
    ]
    limit = torch.tensor([64.0, 96.0, 64.0, 96.0])
    centre = torch.rand(boxes, 2, generator=generator) * limit[:2]
    half = 1 + 30 * torch.rand(boxes, 2, generator=generator)
    xyxy = torch.cat((centre - half, centre + half), 1).clamp(min=0).minimum(limit)
    image = torch.randint(2, (boxes,), generator=generator)
    return raw, Targets(image, torch.randint(CLASSES, (boxes,), generator=generator), xyxy)


@settings(deadline=None, max_examples=40)
@given(scenes)
def test_cells_go_to_boxes_of_their_image_whose_centre_is_near(parameters: tuple) -> None:
    raw, targets = scene(*parameters)
    assigned = YOLOXCriterion(STRIDES, CLASSES).answers(raw, targets)
    assert assigned.shape == (2, sum(level[0, ..., 0].numel() for level in raw))
    image, cell = torch.where(assigned >= 0)
    box = assigned[image, cell]
    assert torch.equal(targets.image[box], image)
    count = torch.bincount(box, minlength=len(targets.label))
    assert (count <= 10).all()
    near = cells_near(
        (targets.xyxy[:, :2] + targets.xyxy[:, 2:]) / 2,
        targets.image,
        [tuple(level.shape[2:4]) for level in raw],
        STRIDES,
        2,
    )
    assert near[image, cell].all()
    for i in range(2):
        assert bool((assigned[i] >= 0).any()) == bool((targets.image == i).any())


@settings(deadline=None, max_examples=40)
@given(scenes)
def test_a_box_alone_gets_cells(parameters: tuple) -> None:
    """Where boxes compete for the same cells one may get none, as in the published code."""
    raw, targets = scene(*parameters)
    criterion = YOLOXCriterion(STRIDES, CLASSES)
    for row in range(len(targets.label)):
        own = Targets(*(field[row : row + 1] for field in targets))
        assert (criterion.answers(raw, own) == 0).any()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_the_cells_near_a_centre(seed: int, boxes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(boxes, 2, generator=generator) * 64
    centres[: boxes // 2] = (centres[: boxes // 2] / 4).round() * 4  # on lines of the grids
    image = torch.randint(3, (boxes,), generator=generator)
    grids = [(8, 8), (4, 4), (2, 2)]
    raw = [torch.zeros(1, 1, *grid, 1) for grid in grids]
    cells = cells_of(raw, STRIDES)
    middle, reach = (cells[:, :2] + 0.5) * cells[:, 2:], RADIUS * cells[:, 2]
    distance = (middle - centres[:, None]).abs().amax(-1)
    expected = torch.stack([(distance < reach)[image == i].any(0) for i in range(3)])
    assert torch.equal(cells_near(centres, image, grids, STRIDES, 3), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [1.0, 100.0])
@pytest.mark.parametrize("boxes", [0, 8])
def test_nothing_is_nan_in_any_precision(dtype: torch.dtype, spread: float, boxes: int) -> None:
    raw, targets = scene(5, boxes, spread)
    raw = [level.to(dtype).requires_grad_() for level in raw]
    criterion = YOLOXCriterion(STRIDES, CLASSES)
    criterion.begin_epoch(closing=True)
    with torch.autocast("cpu", torch.bfloat16):
        terms = criterion(raw, targets, (96, 64))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
    sum(terms.values()).backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in raw)


def test_every_term_depends_on_raw_without_boxes() -> None:
    raw, _ = scene(1, 0, 1.0)
    raw = [level.requires_grad_() for level in raw]
    for value in YOLOXCriterion(STRIDES, CLASSES)(raw, no_boxes(), (96, 64)).values():
        assert value.requires_grad


def test_raw_outputs_of_another_model_are_refused() -> None:
    raw, targets = scene(1, 2, 1.0)
    with pytest.raises(ValueError, match="expected raw outputs"):
        YOLOXCriterion(STRIDES, CLASSES + 1)(raw, targets, (96, 64))
    with pytest.raises(ValueError, match="expected raw outputs"):
        YOLOXCriterion(STRIDES, CLASSES)(raw, targets, (64, 96))


def test_encoding_is_the_inverse_of_decoding() -> None:
    raw = [torch.zeros(1, 1, 3, 4, 1), torch.zeros(1, 1, 2, 2, 1)]
    cells = cells_of(raw, (8, 16))
    assert cells[[0, 5, 12]].tolist() == [[0, 0, 8], [1, 1, 8], [0, 0, 16]]
    logits = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encode_cells(decode_cells(logits, cells), cells), logits)
    zero = corners(decode_cells(torch.zeros(16, 4), cells))
    assert zero[5].tolist() == [4, 4, 12, 12]


def test_the_terms_of_the_closing_epochs() -> None:
    raw, targets = scene(3, 6, 1.0)
    criterion = YOLOXCriterion(STRIDES, CLASSES)
    names = [list(criterion(raw, targets, (96, 64)))]
    for closing in (True, False):
        criterion.begin_epoch(closing=closing)
        names.append(list(criterion(raw, targets, (96, 64))))
    assert names == [["box", "obj", "cls"], ["box", "obj", "cls", "l1"], ["box", "obj", "cls"]]
    assert "l1 1 in the epochs of augment.close_mosaic" in criterion.describe()
