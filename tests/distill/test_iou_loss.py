from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou, complete_box_iou_loss, generalized_box_iou_loss

from tutelage.distill.iou_loss import Overlap, overlap_loss

OVERLAPS: list[Overlap] = ["iou", "log_iou", "giou", "ciou"]
REFERENCE = {
    "iou": lambda a, b: 1 - box_iou(a, b).diagonal().clamp(min=1e-6),
    "log_iou": lambda a, b: -box_iou(a, b).diagonal().clamp(min=1e-6).log(),
    "giou": generalized_box_iou_loss,
    "ciou": complete_box_iou_loss,
}


def some(count: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    low = torch.rand(count, 2, dtype=torch.float64) * 50
    return torch.cat((low, low + 1 + torch.rand(count, 2, dtype=torch.float64) * 40), 1)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_equals_torchvision_in_value_and_gradient(overlap: Overlap) -> None:
    a, b = some(60, 0).requires_grad_(), some(60, 1)
    actual, expected = overlap_loss(a, b, overlap), REFERENCE[overlap](a, b)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-8)
    gradients = (torch.autograd.grad(x.sum(), a)[0] for x in (actual, expected))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_boxes_without_area_are_harmless(overlap: Overlap) -> None:
    a = torch.tensor([[600.0, 5, 600, 5], [3, 4, 3, 9], [3, 4, 8, 4], [1, 1, 2, 2]])
    for first, second in ((a, a.flip(0)), (a, a)):
        leaf = first.clone().requires_grad_()
        loss = overlap_loss(leaf[None], second[None], overlap)
        assert loss.shape == (1, 4)
        loss.sum().backward()
        assert loss.isfinite().all()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_equal_boxes_have_no_loss(overlap: Overlap) -> None:
    boxes = some(20, 2).float()
    assert overlap_loss(boxes, boxes, overlap).abs().max() < 1e-6


def test_plain_overlaps_give_up_on_disjoint_boxes() -> None:
    other = torch.tensor([[20.0, 20, 25, 25]])
    for overlap in OVERLAPS:
        box = torch.tensor([[0.0, 0, 5, 5]], requires_grad=True)
        overlap_loss(box, other, overlap).sum().backward()
        assert (box.grad.abs().max() > 0) == (overlap not in ("iou", "log_iou"))
