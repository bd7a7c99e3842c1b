"""Scores of candidates and of map cells, and methods that weight maps by them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tutelage.distill.method import HeightWidth, LevelMethod, Need
from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Knowledge, Predictions, Targets, height_width


def class_scores(predictions: Predictions) -> Tensor:
    """Return ``(b, n, classes)`` the class probabilities, times the objectness where there is one.

    With a single class and objectness it is the objectness alone: YOLOv7 and YOLOv5 have no class
    loss then, so that the class output is untrained.
    """
    scores = at_least_float32(predictions.logits).sigmoid()
    if predictions.objectness is None:
        return scores
    objectness = at_least_float32(predictions.objectness).sigmoid()[..., None]
    return scores * objectness if classes_trained(predictions) else objectness


def candidate_scores(predictions: Predictions) -> Tensor:
    """Return ``(b, n)`` the score of the best class, see :func:`class_scores`."""
    return class_scores(predictions).amax(-1)


def classes_trained(predictions: Predictions) -> bool:
    """Whether the class outputs have a training loss; see :func:`class_scores`."""
    return predictions.objectness is None or predictions.logits.shape[-1] > 1


def level_counts(predictions: Predictions) -> list[int]:
    """Count the candidates of each level."""
    return torch.bincount(predictions.level).tolist()


def score_maps(predictions: Predictions, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Return the score of the best candidate of every cell of each map.

    Args:
        predictions: Candidates ordered by level, anchor, row, column. Without ``grids`` of their
            own, their levels must be those of the maps.
        grids: Rows and columns of each map.

    Returns:
        ``(b, 1, h, w)`` per map, in 0..1.

    Raises:
        ValueError: There are no candidates for the cells of a map.
    """
    counts = level_counts(predictions)
    known = tuple(grids) if predictions.grids is None else predictions.grids
    cells = sum(h * w for h, w in known)
    anchors = sum(counts) // max(1, cells)
    # Equal on all levels: otherwise levels in the wrong order could pass for other anchors.
    equal = bool(anchors) and counts == [anchors * h * w for h, w in known]
    if (predictions.grids is None and not equal) or not set(grids) <= set(known):
        found = f"{sum(counts)} candidates that belong to no cells"
        if predictions.grids is not None:
            found = f"candidates in the cells of {_list_grids(known)}"
        raise ValueError(
            f"it weighs the cells of {_list_grids(grids)} by the teacher's scores there, but the "
            f"teacher predicts {found}: compare the maps that the head reads, finest first, of a "
            "teacher that predicts cell by cell"
        )
    levels = candidate_scores(predictions).split(counts, 1)
    return [
        levels[known.index((h, w))].unflatten(1, (-1, h, w)).amax(1, keepdim=True) for h, w in grids
    ]


def _list_grids(grids: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{h}×{w}" for h, w in grids)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return ``Σ w v / Σ w`` of equal shapes; 0 if all weights are 0."""
    # Weights first: a gradient of 1 / tiny would overflow in the next product.
    shares = weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    return (shares * values).sum()


class ScoredMethod(LevelMethod):
    """A method that weights the cells of maps by the teacher's score there."""

    needs = Need.FEATURES | Need.PREDICTIONS
    from_store = "best"

    @abstractmethod
    def compare_maps(self, s: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Compare one pair of maps, given the teacher's scores ``(b, 1, h, w)`` of their cells."""

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare one pair; the last channel of ``t`` is the score."""
        return {"feature": self.compare_maps(s, t[:, :-1], t[:, -1:])}

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare all pairs; every term is summed over them.

        Raises:
            ValueError: The teacher has no predictions, or none for the cells of its maps.
        """
        if teacher.predictions is None:
            raise ValueError("the teacher has no predictions: its head was not run")
        grids = [height_width(t) for t in teacher.features]
        # Under autocast cat would not promote: a score in half precision is too coarse.
        with torch.autocast(teacher.features[0].device.type, enabled=False):
            maps = zip(teacher.features, score_maps(teacher.predictions, grids), strict=True)
            features = tuple(torch.cat((t, score), 1) for t, score in maps)
        return super().forward(student, teacher._replace(features=features), targets, image_size)
