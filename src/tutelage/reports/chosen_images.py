"""Which images a report shows: by a rule that is told, not by eye."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data import DatasetIndex
from tutelage.evaluation.coco import CocoEvaluation, Table

CONF = 0.25  # detections above it count in the quality of an image


class ChosenImage(NamedTuple):
    """An image to show.

    Attributes:
        position: Its position in the index.
        reason: Why, in words.
        quality: Its F1, see :func:`image_quality`.
        baseline_quality: That of the baseline; None without one.
    """

    position: int
    reason: str
    quality: float
    baseline_quality: float | None


def image_quality(index: DatasetIndex, table: Table, *, conf: float = CONF) -> NDArray[np.float64]:
    """Return ``(images,)`` the F1 at IoU 0.5 of the detections with a score above ``conf``.

    Matched as for AP: class by class, of the classes that have objects, without ignored detections.
    It is 1 for an image without objects and detections.

    Args:
        index: Images and objects.
        table: ``(n, 7)`` detections: image, x, y, w, h, score, class.
        conf: In 0..1.
    """
    count = partial(np.bincount, minlength=len(index))
    hits, total = np.zeros(len(index)), np.zeros(len(index))
    for matches in CocoEvaluation(index, table[table[:, 5] > conf]).matches("all"):
        hit, ignored = matches.hit[0], matches.ignored[0]
        hits += count(matches.image[hit])
        total += count(matches.image[~ignored]) + matches.objects
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)


def choose_images(
    index: DatasetIndex, table: Table, baseline: Table | None = None, *, conf: float = CONF
) -> list[ChosenImage]:
    """Choose six images to show by a rule: all, if there are no more.

    In this order, each among the images that are left, ties by position: that of the largest gain,
    of the largest loss, the two in the middle of the order by gain, that with most objects, that
    with fewest. The gain is the difference in :func:`image_quality`; without a baseline it is the
    quality itself.

    Args:
        index: The images.
        table: ``(n, 7)`` detections of the run.
        baseline: Those of the run that it is compared with.
        conf: Detections above it count.
    """
    quality = image_quality(index, table, conf=conf)
    before = None if baseline is None else image_quality(index, baseline, conf=conf)
    gain = quality if before is None else quality - before
    best, worst = ("best found", "worst found") if before is None else ("", "")
    rules = (  # ascending order, place in it as a share, words
        (-gain, 0.0, best),
        (gain, 0.0, worst),
        (gain, 0.5, "in the middle"),
        (gain, 0.5, "in the middle"),
        (-index.counts, 0.0, "most objects"),
        (index.counts, 0.0, "fewest objects"),
    )
    left = np.arange(len(index))
    chosen: list[ChosenImage] = []
    for order, share, words in rules[: len(index)]:
        place = int(share * (len(left) - 1))
        image = int(left[np.argsort(order[left], kind="stable")[place]])
        left = left[left != image]
        reason = words or _describe_gain(float(gain[image]), highest=not chosen)
        own = None if before is None else float(before[image])
        chosen.append(ChosenImage(image, reason, float(quality[image]), own))
    return chosen


def _describe_gain(gain: float, *, highest: bool) -> str:
    """Return what the highest or lowest gain is: a gain may be a loss, and the other way round."""
    if not gain:
        return "unchanged"
    if gain > 0:
        return "largest gain" if highest else "smallest gain"
    return "smallest loss" if highest else "largest loss"
