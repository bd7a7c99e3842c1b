"""Tests of the box arithmetic."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import complete_box_iou_loss

from tutelage.losses.boxes import centre_size, complete_iou, corners, decode_cell


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.5, 0.5, 2, 3), (0.6, 0.4, 2.5, 2), 0.5669499),
        ((1, 1, 1, 1), (3, 3, 1, 2), -0.3781601),
        ((2, 2, 3, 1), (2, 2, 3, 1), 1.0),
    ],
    ids=["overlapping", "apart", "equal"],
)
def test_complete_iou_equals_published_values(a, b, expected):
    assert complete_iou(torch.tensor([a]), torch.tensor([b])).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_complete_iou_equals_torchvision_in_value_and_gradient():
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.rand(500, 4, generator=generator, dtype=torch.float64) * 3 + 0.05 for _ in range(2)
    )
    a.requires_grad_()
    value = complete_iou(a, b)
    other = 1 - complete_box_iou_loss(corners(a), corners(b))
    torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6)
    weight = torch.linspace(-1, 1, 500, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((value * weight).sum(), a)
    (expected,) = torch.autograd.grad((other * weight).sum(), a)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logit", [-200.0, -60.0, -10.0, 200.0])
def test_complete_iou_is_finite_where_predicted_sizes_vanish(logit):
    logits = torch.full((1, 4), logit, requires_grad=True)
    box = decode_cell(logits, torch.tensor([[1.25, 1.625]]))
    value = complete_iou(box, torch.tensor([[0.5, 0.5, 3.0, 2.0]]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


def test_complete_iou_survives_a_box_without_area():
    nothing = torch.zeros(1, 4, requires_grad=True)
    value = complete_iou(nothing, torch.zeros(1, 4))
    value.sum().backward()
    assert value.isfinite().all()
    assert nothing.grad.isfinite().all()


def test_decode_spans_the_neighbouring_cells_and_four_anchors():
    anchor = torch.tensor([[2.0, 3.0]]).expand(3, 2)
    logits = torch.tensor([[-100.0], [0.0], [100.0]]).expand(3, 4)
    expected = [[-0.5, -0.5, 0, 0], [0.5, 0.5, 2, 3], [1.5, 1.5, 8, 12]]
    torch.testing.assert_close(decode_cell(logits, anchor), torch.tensor(expected))


def test_corners_and_centre_size_are_inverse():
    boxes = torch.tensor([[[10.0, 20.0, 4.0, 6.0]], [[-1.0, 0.0, 2.0, 8.0]]])
    assert corners(boxes)[0, 0].tolist() == [8, 17, 12, 23]
    torch.testing.assert_close(centre_size(corners(boxes)), boxes)
