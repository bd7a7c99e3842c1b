"""``tutelage.check``: the command as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.data.bit_depth import ImageRange
from tutelage.data.check import SPLITS, DataReport, examine
from tutelage.data.index import Split


def check(
    data: str | Path,
    *,
    split: Split | Sequence[Split] = SPLITS,
    img_size: int = 640,
    image_range: ImageRange | None = None,
) -> DataReport:
    """Examine a data set: files, labels, boxes, leaks between the splits. Changes nothing in it.

    Args:
        data: Data yaml, COCO json, COCO or VOC folder, or ``digits``.
        split: ``train``, ``val``, ``test``, or several; those that are missing are left out.
        img_size: Training size in pixels, at which boxes may be tiny.
        image_range: The values that are black and white in images of more than 8 bits.

    Raises:
        DataError: No split can be opened.
    """
    splits = (split,) if isinstance(split, str) else split
    return examine(data, splits, image_size=img_size, image_range=image_range)
