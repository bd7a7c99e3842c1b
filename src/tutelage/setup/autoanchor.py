"""The anchors of a run: those of its architecture, or own ones where they miss too many boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex
from tutelage.data.anchors import GOOD_RECALL, best_possible_recall, box_sizes, search_anchors
from tutelage.models.graph import GraphDetector


def choose_anchors(
    student: GraphDetector,
    index: DatasetIndex,
    config: Config,
    state: Mapping[str, Any] | None = None,
) -> str:
    """Give the student the anchors that it is trained with, before anything looks at them.

    Own anchors are searched for only where those of the student reach less than 98 % of the boxes,
    and taken only if they reach more. The seed of the run decides the search.

    Args:
        student: Its anchors are replaced in place.
        index: The training images.
        config: The settings of the run.
        state: The training state of the head with which a resumed run began; empty: what the
            student has (first versions did not store it). None: the run begins.

    Returns:
        What was done, for the plan; empty if the head has no anchors.
    """
    if state:
        student.load_training_state(state)

    def find(anchors: Tensor, strides: Sequence[int]) -> tuple[Tensor | None, str]:
        current = anchors.double().cpu().numpy()
        boxes, limit = box_sizes(index, config.train.image_size), config.loss.anchor_t
        before = best_possible_recall(boxes, current, limit)
        report = f"best possible recall {before:.3f}"
        if state is not None:
            return None, f"{report}, as the run began"
        if not config.model.autoanchor:
            return None, f"{report}, kept (model.autoanchor is off)"
        rng = np.random.default_rng(config.train.seed)
        augmented = box_sizes(index, config.train.image_size, rng)
        if best_possible_recall(augmented, current, limit) >= GOOD_RECALL:
            return None, f"{report}, kept"
        levels, count, _ = anchors.shape
        found = search_anchors(boxes, levels * count, limit, rng)
        after = 0.0 if found is None else best_possible_recall(boxes, found, limit)
        if found is None or after <= before:
            return None, f"{report}, kept: no better ones were found"
        place = np.argsort(np.argsort(strides, kind="stable"), kind="stable")
        better = torch.from_numpy(found.reshape(levels, count, 2)[place])
        return better, f"{report}, {after:.3f} with anchors found for these boxes"

    return student.fit_anchors(find)
