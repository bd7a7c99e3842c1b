from __future__ import annotations

import pytest
import torch

from tutelage.distill.scores import candidate_scores, level_counts, score_maps, weighted_mean
from tutelage.models.heads.decode import decode
from tutelage.structures import Predictions

GRIDS = [(2, 3), (1, 2)]


def predictions(objectness: bool = True) -> tuple[Predictions, list[torch.Tensor]]:
    torch.manual_seed(0)
    raw = [torch.randn(2, 3, *grid, 5 + 4) for grid in GRIDS]
    found = decode(raw, torch.ones(2, 3, 2), (8, 16))
    return found if objectness else found._replace(objectness=None), raw


def test_counting_candidates_asks_no_accelerator() -> None:
    raw = [torch.empty(2, 3, *grid, 5 + 4, device="meta") for grid in GRIDS]
    found = decode(raw, torch.ones(2, 3, 2, device="meta"), (8, 16))
    assert level_counts(found) == [18, 6]


@pytest.mark.parametrize("objectness", [True, False])
def test_maps_hold_the_best_candidate_of_each_cell(objectness: bool) -> None:
    found, raw = predictions(objectness)
    for level, score in zip(raw, score_maps(found, GRIDS), strict=True):
        expected = level[..., 5:].sigmoid()
        if objectness:
            expected = expected * level[..., 4:5].sigmoid()
        assert score.shape == (2, 1, *level.shape[2:4])
        torch.testing.assert_close(score[:, 0], expected.amax((1, 4)))


@pytest.mark.parametrize(
    "grids",
    [[(2, 3)], [(1, 2), (2, 3)], [(2, 3), (1, 4)], [(2, 3), (1, 1)], [], [(40, 40), (20, 20)]],
    ids=["a level missing", "wrong order", "does not divide", "other anchors", "none", "too fine"],
)
def test_maps_of_other_grids_are_refused(grids: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"\[18, 6\] candidates"):
        score_maps(predictions()[0], grids)


def test_half_scores_are_float32() -> None:
    found = predictions()[0]
    half = found._replace(logits=found.logits.half(), objectness=found.objectness.half())
    assert candidate_scores(half).dtype == torch.float32


def test_weighted_mean() -> None:
    values, weights = torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 3.0, 0.0])
    assert weighted_mean(values, weights) == 4
    assert weighted_mean(values, weights * 1e-30) == pytest.approx(4)
    assert weighted_mean(values, torch.zeros(3)) == 0
