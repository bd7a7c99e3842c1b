"""The loss of YOLOv9 equals the published one, and behaves where nothing is published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.loss_cases import random_targets, targets_of
from tests.models.repeatable_weights import GOLDEN
from tutelage.losses import DFLCriterion
from tutelage.losses.dfl_criterion import two_bin_entropy
from tutelage.structures import Targets

NAMES = ("box", "dfl", "cls")
LOSSES = GOLDEN.parent / "losses" / "yolov9.npz"


def criterion(classes: int = 3) -> DFLCriterion:
    return DFLCriterion(strides=(8, 16, 32), classes=classes, bins=16)


def published_raw(random: np.random.RandomState) -> list[Tensor]:
    """Sharp distributions, so that boxes of every size are predicted."""
    levels = []
    for side in (16, 8, 4):
        x = random.standard_normal((3, 67, side, side))
        x[:, :64] *= 4
        x[:, 64:] *= 2
        levels.append(torch.from_numpy(x.astype(np.float32)).requires_grad_())
    return levels


def random_raw(
    images: int = 2, size: tuple[int, int] = (64, 96), dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    height, width = size
    return [
        (3 * torch.randn(images, 67, height // s, width // s, generator=generator)).to(dtype)
        for s in (8, 16, 32)
    ]


def none() -> Targets:
    empty = torch.empty(0, dtype=torch.int64)
    return Targets(empty, empty, torch.empty(0, 4))


def assert_close(found: Tensor, expected: Tensor) -> None:
    atol = 1e-5 * expected.abs().max().item()
    torch.testing.assert_close(found.to(expected), expected, rtol=1e-5, atol=atol)


def test_the_published_loss() -> None:
    with np.load(LOSSES) as file:
        arrays = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    random = np.random.RandomState(11)
    lead, auxiliary = published_raw(random), published_raw(random)
    targets = targets_of(arrays["targets"], 128)
    terms = criterion()([*lead, *auxiliary], targets, (128, 128))
    assert_close(torch.stack([terms[name] for name in NAMES]), arrays["items"])
    sum(terms.values()).backward()
    for level in range(3):
        assert_close(lead[level].grad[:, ::8], arrays[f"grad_{level}"])
        assert_close(auxiliary[level].grad[:, ::8], arrays[f"aux_grad_{level}"])
    for name, raw in (("lead", lead), ("aux", auxiliary)):
        found = criterion().match(raw, targets)
        valid = torch.zeros_like(arrays[f"{name}_valid"])
        valid[found.image, found.cell] = True
        assert torch.equal(valid, arrays[f"{name}_valid"])
        boxes = arrays[f"{name}_box"][found.image, found.cell]
        assert_close(targets.xyxy[found.target], boxes)
        assert_close(found.quality, arrays[f"{name}_quality"][found.image, found.cell])


@pytest.mark.parametrize("name", ["yolov9-t", "yolov9-c"])
def test_the_published_loss_of_the_networks(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].ndim}
    lead = [arrays[f"raw_{level}"].requires_grad_() for level in range(3)]
    targets = targets_of(arrays["targets"], 64)
    terms = criterion()(lead, targets, (64, 64))
    sum(terms.values()).backward()
    for level in range(3):
        assert_close(lead[level].grad[:, ::4], arrays[f"grad_{level}"])
    answers = criterion().answers(lead, targets)
    assert torch.equal(answers >= 0, arrays["lead_valid"])


def test_without_boxes_only_the_classes_are_taught() -> None:
    raw = [level.requires_grad_() for level in random_raw()]
    terms = criterion()(raw, none(), (64, 96))
    assert terms["box"] == terms["dfl"] == 0 < terms["cls"]
    sum(terms.values()).backward()
    assert all(level.grad is not None and level.grad[:, :64].eq(0).all() for level in raw)
    assert criterion().answers(raw, none()).eq(-1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    raw = [level.requires_grad_() for level in random_raw(dtype=dtype)]
    targets = random_targets(torch.Generator().manual_seed(1), 2, 12, (64, 96))
    tiny = torch.tensor([[5.0, 5.0, 5.0, 5.0], [-90.0, -90.0, 300.0, 300.0]])
    targets = Targets(
        torch.cat((targets.image, torch.zeros(2).long())),
        torch.cat((targets.label, torch.zeros(2).long())),
        torch.cat((targets.xyxy, tiny)),
    )
    with torch.autocast("cpu", torch.bfloat16):
        terms = criterion()(raw, targets, (64, 96))
    wanted = torch.promote_types(dtype, torch.float32)
    assert all(value.isfinite() and value.dtype == wanted for value in terms.values())
    sum(terms.values()).backward()
    assert all(level.grad.isfinite().all() for level in raw)


def test_a_box_out_of_reach_of_the_bins_pulls_them_to_their_end() -> None:
    raw = random_raw(images=1)
    for level in raw:
        level[:, :64] = 0
        level[:, 15:64:16] = 9  # the last bin of each side
    huge = Targets(
        torch.tensor([0]), torch.tensor([0]), torch.tensor([[-900.0, -900.0, 900.0, 900.0]])
    )
    assert criterion().answers(raw, huge).eq(0).sum() == 1
    terms = criterion()(raw, huge, (64, 96))
    assert 0 < terms["dfl"] < 0.2


def test_the_batch_is_one_sum() -> None:
    """The terms times the quality of the batch are the sums over the images."""
    raw = random_raw()
    targets = random_targets(torch.Generator().manual_seed(1), 2, 12, (64, 96))

    def total(levels: Sequence[Tensor], part: Targets) -> tuple[Tensor, Tensor]:
        terms = criterion()(levels, part, (64, 96))
        weight = criterion().match(levels, part).quality.sum().clamp(min=1)
        return weight, torch.stack([terms[name] for name in NAMES]) * weight

    whole = total(raw, targets)[1]
    parts = torch.zeros(3)
    for image in range(2):
        own = targets.image == image
        part = Targets(targets.image[own] * 0, targets.label[own], targets.xyxy[own])
        parts += total([level[image : image + 1] for level in raw], part)[1]
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


def test_two_bins_share_the_entropy_by_nearness() -> None:
    bins = torch.randn(5, 16, generator=torch.Generator().manual_seed(0)).double()
    distance = torch.tensor([0.0, 2.25, 7.5, 14.99, 3.0]).double()
    below = distance.long()
    logs = bins.log_softmax(-1)
    rows = torch.arange(5)
    above = distance - below
    expected = -(logs[rows, below] * (1 - above) + logs[rows, below + 1] * above)
    torch.testing.assert_close(two_bin_entropy(bins, distance), expected)


def test_raw_outputs_of_another_canvas_are_refused() -> None:
    with pytest.raises(ValueError, match="for an image of 96 x 96"):
        criterion()(random_raw(), none(), (96, 96))
