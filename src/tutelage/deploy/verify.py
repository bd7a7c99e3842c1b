"""Whether an exported model gives what its checkpoint gives, on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.data import letterbox
from tutelage.deploy.metadata import Suppression
from tutelage.evaluation.nms import nms
from tutelage.structures import Detections, Predictions

LIMIT, HALF_LIMIT = 1e-3, 2e-2
TIES = 0.01  # share of the survivors
IMAGES = 8

Run = Callable[[Tensor], Predictions]


class VerificationCase(NamedTuple):
    """A way to show images to a network: how many at once, on what canvas ``(h, w)``."""

    batch: int
    canvas_hw: tuple[int, int]


def checks(image_size: int, stride: int) -> tuple[VerificationCase, VerificationCase]:
    """Return two ways that differ in batch, height to width, and size."""
    square = (image_size, image_size)
    return VerificationCase(1, square), VerificationCase(3, (image_size, image_size + stride))


@torch.inference_mode()
def difference(
    expected: Run,
    found: Run,
    images: Sequence[NDArray[np.uint8]],
    ways: Sequence[VerificationCase],
    *,
    suppression: Suppression | None = None,
) -> float:
    """Return the largest difference of two networks.

    Boxes count as shares of the canvas, scores as they are. With a suppression, its survivors are
    compared instead of all candidates; one without a partner of its class differs by 1 or more. One
    in a hundred may: rounding decides who survives where scores or overlaps meet a limit.

    Args:
        expected: The one to compare with.
        found: The other.
        images: RGB pictures of any size.
        ways: How they are shown.
        suppression: Settings of the suppression, or None.
    """
    worst, apart = 0.0, [torch.zeros(0)]
    for batch, canvas_hw in ways:
        shown = np.stack([letterbox(image, canvas_hw)[0] for image in images])
        tensor = torch.from_numpy(shown).permute(0, 3, 1, 2).float().div_(255)
        for part in tensor.split(batch):
            one, other = expected(part), found(part)
            if suppression is None:
                worst = max(worst, _of_candidates(one, other, max(canvas_hw)))
            else:
                pairs = zip(*(_survivors(x, suppression) for x in (one, other)), strict=True)
                apart += [_of_survivors(a, b, max(canvas_hw)) for a, b in pairs]
    survivors = torch.cat(apart).sort().values
    counted = survivors[: len(survivors) - int(TIES * len(survivors))]
    return max(worst, *counted[-1:].tolist(), 0.0)


def _of_candidates(one: Predictions, other: Predictions, side: int) -> float:
    if one.xyxy.shape != other.xyxy.shape:
        return float("inf")
    boxes = _largest((one.xyxy - other.xyxy) / side)
    return max(boxes, _largest(_scores(one) - _scores(other)))


def _of_survivors(one: Detections, other: Detections, side: int) -> Tensor:
    """How far each survivor of either is from the nearest of the other."""
    if not len(one.score) or not len(other.score):
        return torch.full((len(one.score) + len(other.score),), torch.inf)
    # The order of equal scores is free: every survivor needs a partner near it.
    rows = [
        torch.cat([x.xyxy / side, x.score[:, None], x.label[:, None].float()], 1)
        for x in (one, other)
    ]
    apart = torch.cdist(rows[0], rows[1], p=float("inf"))
    return torch.cat([apart.amin(0), apart.amin(1)])


def _survivors(predictions: Predictions, settings: Suppression) -> list[Detections]:
    return nms(
        predictions,
        conf=settings.conf,
        iou=settings.iou,
        max_detections=settings.max_detections,
    )


def _scores(predictions: Predictions) -> Tensor:
    if predictions.objectness is None:
        return predictions.logits.sigmoid()
    objectness = predictions.objectness.sigmoid()[..., None]
    single = predictions.logits.shape[-1] == 1
    return objectness if single else predictions.logits.sigmoid() * objectness


def _largest(values: Tensor) -> float:
    """The largest size; infinite if a value is not a number, which no comparison would notice."""
    return values.abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()
