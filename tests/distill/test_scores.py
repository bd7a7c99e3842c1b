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


@pytest.mark.parametrize("grids", [[(1, 2)], [(1, 2), (2, 3)]], ids=["some", "other order"])
def test_maps_are_found_by_their_grids(grids: list[tuple[int, int]]) -> None:
    found = predictions()[0]
    expected = dict(zip(GRIDS, score_maps(found, GRIDS), strict=True))
    for grid, score in zip(grids, score_maps(found, grids), strict=True):
        assert torch.equal(score, expected[grid])


def test_maps_that_the_head_does_not_read_are_refused() -> None:
    message = r"the cells of 2×3 4×6 by .*, but the teacher predicts candidates in the cells of 2×3"
    with pytest.raises(ValueError, match=message):
        score_maps(predictions()[0], [(2, 3), (4, 6)])


@pytest.mark.parametrize(
    "grids",
    [[(2, 3)], [(1, 2), (2, 3)], [(2, 3), (1, 4)], [(2, 3), (1, 1)], [], [(40, 40), (20, 20)]],
    ids=["a level missing", "wrong order", "does not divide", "other anchors", "none", "too fine"],
)
def test_grids_that_cannot_be_meant_are_refused(grids: list[tuple[int, int]]) -> None:
    """Of predictions that do not tell theirs, as those of a teacher of one's own may."""
    with pytest.raises(ValueError, match="24 candidates that belong to no cells"):
        score_maps(predictions()[0]._replace(grids=None), grids)


def test_without_grids_of_their_own_those_of_the_maps_are_meant() -> None:
    found = predictions()[0]
    for one, two in zip(
        score_maps(found, GRIDS), score_maps(found._replace(grids=None), GRIDS), strict=True
    ):
        assert torch.equal(one, two)


def test_half_scores_are_float32() -> None:
    found = predictions()[0]
    half = found._replace(logits=found.logits.half(), objectness=found.objectness.half())
    assert candidate_scores(half).dtype == torch.float32


def test_weighted_mean() -> None:
    values, weights = torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 3.0, 0.0])
    assert weighted_mean(values, weights) == 4
    assert weighted_mean(values, weights * 1e-30) == pytest.approx(4)
    assert weighted_mean(values, torch.zeros(3)) == 0
