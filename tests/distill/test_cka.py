"""Linear CKA by its properties."""

import math

import pytest
import torch

from tutelage.distill.cka import linear_cka, map_similarity


def draw(n, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, generator=generator, dtype=torch.float64)


X = draw(300, 8, 0) @ draw(8, 8, 1)


def test_a_map_is_like_itself():
    assert linear_cka(X, X) == pytest.approx(1, abs=1e-9)


def test_turning_scaling_and_shifting_change_nothing():
    turn, _ = torch.linalg.qr(draw(8, 8, 2))
    y = torch.tanh(X @ draw(8, 5, 3)) + 0.3 * draw(300, 5, 4)
    moved = 7.5 * X @ turn + 3
    assert linear_cka(moved, X) == pytest.approx(1, abs=1e-9)
    assert 0.1 < linear_cka(X, y) < 0.9
    assert linear_cka(moved, y) == pytest.approx(linear_cka(X, y), abs=1e-9)


def test_another_scale_per_channel_does_count():
    stretched = X * torch.linspace(0.1, 5, 8)
    assert linear_cka(X, stretched) < 0.97


def test_it_is_symmetric():
    y = X[:, :3] + draw(300, 3, 5)
    assert linear_cka(X, y) == pytest.approx(linear_cka(y, X), abs=1e-12)


@pytest.mark.parametrize("channels", [4, 256])
def test_unrelated_features_are_unlike_also_with_many_channels(channels):
    values = [linear_cka(draw(200, channels, 2 * s), draw(200, channels, 2 * s + 1))
              for s in range(4)]  # fmt: skip
    assert max(map(abs, values)) < 0.1


def test_noise_lowers_it():
    values = [linear_cka(X, X + size * draw(300, 8, 6)) for size in (0.1, 1.0, 10.0)]
    assert values[0] > 0.98
    assert values == sorted(values, reverse=True)


def test_maps_are_compared_cell_by_cell():
    student = torch.randn(2, 6, 5, 7)
    teacher = torch.einsum("bchw,dc->bdhw", student, torch.linalg.qr(torch.randn(9, 6))[0])
    assert map_similarity(student, teacher) == pytest.approx(1, abs=1e-5)
    assert map_similarity(student, teacher.flip(3)) < 0.7
    assert map_similarity(student, teacher, cells=20) == pytest.approx(1, abs=1e-5)


def test_another_grid_is_resized():
    smooth = torch.linspace(0, 1, 16).expand(2, 1, 16, 16) * torch.tensor([1.0, 2]).view(1, 2, 1, 1)
    assert map_similarity(smooth[..., ::2, ::2].contiguous(), smooth) > 0.98


def test_a_constant_map_has_no_similarity():
    assert math.isnan(linear_cka(X, torch.ones(300, 2)))
