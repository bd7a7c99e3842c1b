"""Comparison of an exported model with its checkpoint on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.data import letterbox
from tutelage.deploy.metadata import Suppression
from tutelage.deploy.network import class_scores
from tutelage.evaluation.nms import nms
from tutelage.structures import Detections, Predictions

LIMIT, HALF_LIMIT = 1e-3, 2e-2
TIES = 0.01  # share of the detections after suppression that may differ
IMAGES = 8

Run = Callable[[Tensor], Predictions]


class VerificationCase(NamedTuple):
    """Batch size and canvas ``(h, w)`` of a comparison."""

    batch: int
    canvas_hw: tuple[int, int]


def verification_cases(
    image_size: int, stride: int, shape: tuple[int, int, int] | None = None
) -> tuple[VerificationCase, ...]:
    """Return two cases that differ in batch size, aspect ratio and canvas size.

    Args:
        image_size: The size it is made for, in pixels.
        stride: Both sides are multiples of it.
        shape: Number, height and width of the images if they are fixed: the only case.
    """
    if shape is not None:
        return (VerificationCase(shape[0], shape[1:]),)
    square = (image_size, image_size)
    return VerificationCase(1, square), VerificationCase(3, (image_size, image_size + stride))


@torch.inference_mode()
def largest_difference(
    expected: Run,
    actual: Run,
    images: Sequence[NDArray[np.uint8]],
    cases: Sequence[VerificationCase],
    *,
    suppression: Suppression | None = None,
) -> float:
    """Return the largest difference between the outputs of two networks.

    Box coordinates are divided by the canvas side, or by the largest of their box if that is
    beyond: a size that is an exponential may be any, and float32 has seven digits. Scores are
    compared directly. With a suppression, its survivors are compared instead of all candidates;
    one without a partner of its class differs by at least 1. One percent may differ, as rounding
    decides near the thresholds.

    Args:
        expected: The reference network.
        actual: The network to verify.
        images: RGB pictures of any size.
        cases: Batch sizes and canvases.
        suppression: Settings of the suppression, or None.
    """
    worst, distances = 0.0, [torch.zeros(0)]
    for batch, canvas_hw in cases:
        canvases = np.stack([letterbox(image, canvas_hw)[0] for image in images])
        tensor = torch.from_numpy(canvases).permute(0, 3, 1, 2).float().div_(255)
        count = -(-len(tensor) // batch) * batch  # whole batches: some images may come twice
        for part in tensor[torch.arange(count) % len(tensor)].split(batch):
            one, other = expected(part), actual(part)
            if suppression is None:
                worst = max(worst, _candidate_difference(one, other, max(canvas_hw)))
            else:
                pairs = zip(
                    *(nms(x, **suppression.model_dump()) for x in (one, other)), strict=True
                )
                distances += [_survivor_distances(a, b, max(canvas_hw)) for a, b in pairs]
    ordered = torch.cat(distances).sort().values
    kept = ordered[: len(ordered) - int(TIES * len(ordered))]
    return max(worst, *kept[-1:].tolist(), 0.0)


def _candidate_difference(one: Predictions, other: Predictions, side: int) -> float:
    if one.xyxy.shape != other.xyxy.shape:
        return float("inf")
    boxes = _largest((one.xyxy - other.xyxy) / _extent(one.xyxy, side))
    return max(boxes, _largest(class_scores(one) - class_scores(other)))


def _survivor_distances(one: Detections, other: Detections, side: int) -> Tensor:
    """Return the distance of each survivor to the nearest one of the other network."""
    if not len(one.score) or not len(other.score):
        return torch.full((len(one.score) + len(other.score),), torch.inf)
    # Equal scores have no fixed order, so compare with the nearest survivor.
    boxes = torch.cdist(one.xyxy, other.xyxy, p=float("inf")) / _extent(one.xyxy, side)
    rows = [torch.stack((x.score, x.label.float()), 1) for x in (one, other)]
    distances = torch.maximum(boxes, torch.cdist(*rows, p=float("inf")))
    return torch.cat([distances.amin(0), distances.amin(1)])


def _extent(xyxy: Tensor, side: int) -> Tensor:
    """Return the largest coordinate of each box, at least ``side``: ``(..., 1)``."""
    return xyxy.abs().amax(-1, keepdim=True).clamp(min=side)


def _largest(values: Tensor) -> float:
    """Return the largest absolute value; infinite if one is NaN, which ``max`` could hide."""
    return values.abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()
