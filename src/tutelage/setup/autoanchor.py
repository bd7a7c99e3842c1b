"""The anchors of a run: those of its architecture, or own ones where they miss too many boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex
from tutelage.data.anchors import (
    GOOD_RECALL,
    BoxSizes,
    best_possible_recall,
    box_sizes,
    search_anchors,
)
from tutelage.models.graph import GraphDetector

Anchors = Sequence[Sequence[Sequence[float]]]
"""Per level, the (width, height) of each anchor in pixels."""


def settle_anchors(
    student: GraphDetector, index: DatasetIndex, config: Config, began: Anchors | None = None
) -> str:
    """Give the student the anchors that it is trained with, before anything looks at them.

    Own anchors are searched for only where those of the student reach less than 98 % of the boxes,
    and taken only if they reach more. The seed of the run decides the search.

    Args:
        student: Its anchors are replaced in place.
        index: The training images.
        config: The settings of the run.
        began: The anchors with which a resumed run began; empty: those that the student has (runs
            of the first versions did not say). None: the run begins.

    Returns:
        What was done, for the plan.
    """
    boxes, limit = box_sizes(index, config.train.image_size), config.loss.anchor_t
    if began:
        student.set_anchors(torch.tensor(began))
    before = best_possible_recall(boxes, _of(student), limit)
    told = f"best possible recall {before:.3f}"
    if began is not None:
        return f"{told}, as the run began"
    if not config.model.autoanchor:
        return f"{told}, kept (model.autoanchor is off)"
    rng = np.random.default_rng(config.train.seed)
    if (
        best_possible_recall(box_sizes(index, config.train.image_size, rng), _of(student), limit)
        >= GOOD_RECALL
    ):
        return f"{told}, kept"
    levels, count, _ = student.anchors.shape
    found = search_anchors(boxes, levels * count, limit, rng)
    after = 0.0 if found is None else best_possible_recall(boxes, found, limit)
    if found is None or after <= before:
        return f"{told}, kept: no better ones were found"
    place = np.argsort(np.argsort(student.strides, kind="stable"), kind="stable")
    student.set_anchors(torch.from_numpy(found.reshape(levels, count, 2)[place]))
    return f"{told}, {after:.3f} with anchors found for these boxes"


def _of(student: GraphDetector) -> BoxSizes:
    return student.anchors.double().cpu().numpy()
