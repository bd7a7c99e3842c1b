"""Tests of picking predictions and of writing targets back."""

from __future__ import annotations

import pytest
import torch

from tutelage.losses.gather import last_written, pick

PLACE = tuple(
    torch.tensor(index) for index in ([0, 1, 1, 1], [2, 0, 0, 1], [1, 0, 0, 2], [3, 2, 2, 0])
)


def level(*, channels_last: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if channels_last:
        raw = torch.randn(2, 3, 4, 3, 7, generator=generator, dtype=torch.float64).permute(
            0, 3, 1, 2, 4
        )
    else:
        raw = torch.randn(2, 3, 3, 4, 7, generator=generator, dtype=torch.float64)
    return raw.requires_grad_()


@pytest.mark.parametrize("channels_last", [False, True])
def test_pick_equals_indexing_in_value_gradient_and_layout(channels_last):
    raw = level(channels_last=channels_last)
    predictions, objectness = pick(raw, PLACE)
    assert torch.equal(predictions, raw[PLACE])
    assert torch.equal(objectness, raw[..., 4])

    def loss(predictions, objectness):
        return predictions.pow(3).sum() + (objectness.sin() * torch.arange(4)).sum()

    (gradient,) = torch.autograd.grad(loss(predictions, objectness), raw)
    (expected,) = torch.autograd.grad(loss(raw[PLACE], raw[..., 4]), raw)
    torch.testing.assert_close(gradient, expected)
    assert gradient.stride() == raw.stride()


@pytest.mark.parametrize("used", [0, 1], ids=["predictions", "objectness"])
def test_pick_has_a_gradient_when_only_one_result_is_used(used):
    raw = level(channels_last=False)
    (gradient,) = torch.autograd.grad(pick(raw, PLACE)[used].sum(), raw)
    assert gradient.sum() == (4 * 7 if used == 0 else 2 * 3 * 3 * 4)


def test_pick_of_nothing_keeps_the_graph():
    raw = level(channels_last=False)
    nothing = tuple(torch.empty(0, dtype=torch.long) for _ in range(4))
    predictions, _ = pick(raw, nothing)
    assert predictions.shape == (0, 7)
    (gradient,) = torch.autograd.grad(predictions.sum(), raw)
    assert not gradient.any()


def test_last_written_lets_the_last_value_win():
    values = torch.tensor([5.0, 4.0, 3.0, 2.0])
    written = last_written(values, PLACE, torch.Size((2, 3, 3, 4)))
    assert written[0, 2, 1, 3] == 5
    assert written[1, 0, 0, 2] == 3  # 4 came before
    assert written[1, 1, 2, 0] == 2
    assert written.count_nonzero() == 3


def test_last_written_agrees_with_a_sequential_loop():
    generator = torch.Generator().manual_seed(2)
    shape = torch.Size((2, 3, 4, 5))
    place = tuple(torch.randint(size, (5000,), generator=generator) for size in shape)
    values = torch.rand(5000, generator=generator)
    expected = torch.zeros(shape)
    for value, *index in zip(values, *place, strict=True):
        expected[tuple(index)] = value
    assert torch.equal(last_written(values, place, shape), expected)
