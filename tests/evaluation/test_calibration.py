"""The score at which a detection is right with a probability."""

import numpy as np
import pytest

from tests.evaluation.synthetic_coco import detect, make_index
from tutelage.evaluation import coco, score
from tutelage.evaluation.calibration import score_of_probability

RANDOM = np.random.default_rng(0)


def logit(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.5, -0.9), (0.5, 1.0)])
@pytest.mark.parametrize("probability", [0.05, 0.5])
def test_what_the_scores_were_drawn_with_is_found_again(slope, offset, probability):
    scores = RANDOM.uniform(0.01, 0.99, 200_000)
    hits = RANDOM.uniform(size=len(scores)) < 1 / (1 + np.exp(-(slope * logit(scores) + offset)))
    found = score_of_probability(probability, scores, hits)
    assert slope * logit(found) + offset == pytest.approx(logit(probability), abs=0.05)


def test_scores_without_any_exception():
    scores = np.array([0.1, 0.15, 0.2] * 100 + [0.7, 0.8, 0.9] * 5)
    found = score_of_probability(0.05, scores, scores > 0.5)
    assert 0.2 < found < 0.7
    assert 0.5 < score_of_probability(0.5, scores, scores > 0.5) < 0.7


def test_nothing_that_is_right_or_the_wrong_way_round():
    scores = np.linspace(0.05, 0.95, 50)
    assert score_of_probability(0.05, scores, np.zeros(50, bool)) is None
    assert score_of_probability(0.05, np.zeros(0), np.zeros(0, bool)) is None
    assert score_of_probability(0.05, scores, scores < 0.5) is None


def test_all_that_is_found_is_right():
    assert 0 <= score_of_probability(0.05, np.full(20, 0.9), np.ones(20, bool)) < 0.9


def test_some_detections_exceed_it(monkeypatch):
    """However rarely those of a weak teacher are right."""
    index = make_index(10, seed=1)
    scores = score(index, detect(index, seed=2))
    best = scores.diagnostics["confidence"]["threshold"]
    for found, expected in ((0.999, best), (best / 2, best / 2), (None, None)):
        monkeypatch.setattr(coco, "score_of_probability", lambda *_, found=found: found)
        assert scores.score_of_probability(0.05) == expected
    assert (scores.table[:, 5] > best).any()
