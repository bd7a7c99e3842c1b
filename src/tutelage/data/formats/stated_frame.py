"""The frame that boxes in pixels refer to: the image as shown, or as its label file states it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.data.formats.pixel_boxes import PixelBox
from tutelage.data.formats.scan import BoxFrame
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.image import stored_orientation

_CLOSE = 0.01  # sizes that differ by less than this share, or by a pixel, shift no box visibly


class StatedFrame(NamedTuple):
    """What to do where a label file states another size of an image than the file has.

    Attributes:
        name: ``shown``: boxes refer to the image as it is displayed, EXIF orientation applied;
            ``stated``: to an image of the size that the label file states, to be turned or scaled;
            empty: a contradiction is an error.
        strict: Whether any contradiction is one, or only that of an image that EXIF turns: the
            sizes in VOC files are often wrong where the boxes are right.
    """

    name: BoxFrame = ""
    strict: bool = True

    def check(
        self,
        line: int,
        stated_wh: tuple[float, float],
        size_wh: tuple[int, int],
        path: str,
        *,
        boxes: int,
    ) -> list[BadLabelLine]:
        """Return the fault of a stated size that contradicts the image; 0 is no statement."""
        if not min(stated_wh) > 0 or stated_wh == size_wh:
            return []
        stated, actual = ("{:g}x{:g}".format(*wh) for wh in (stated_wh, size_wh))
        text = f"stated {stated}, shown {actual}"
        turned = stated_wh == size_wh[::-1] and stored_orientation(Path(path)) > 4
        if turned:
            text += " because EXIF turns it"
        harmful = boxes > 0 and not self.name and not _close(stated_wh, size_wh)
        harmful = harmful and (turned or self.strict)
        return [BadLabelLine(line, LabelFault.FRAME if harmful else LabelFault.SIZE, text)]

    def to_shown(
        self,
        boxes: list[PixelBox],
        stated_wh: tuple[float, float],
        size_wh: tuple[int, int],
        path: str,
    ) -> list[PixelBox]:
        """Return the boxes in pixels of the image as shown."""
        if self.name != "stated" or not min(stated_wh) > 0:
            return boxes
        orientation = stored_orientation(Path(path))
        width, height = size_wh
        stored_wh = (height, width) if orientation > 4 else size_wh
        scale_x, scale_y = stored_wh[0] / stated_wh[0], stored_wh[1] / stated_wh[1]
        if orientation > 4 and _close(stated_wh, size_wh):  # whoever wrote it saw it upright
            orientation = 1
            scale_x, scale_y = size_wh[0] / stated_wh[0], size_wh[1] / stated_wh[1]
        scales = (scale_x, scale_y, scale_x, scale_y)
        turned: list[PixelBox] = []
        for box in boxes:
            left, top, right, bottom = map(operator.mul, box.xyxy, scales)
            xyxy = _turned((left, top, right, bottom), orientation, stored_wh)
            turned.append(box._replace(xyxy=xyxy, area=box.area * scale_x * scale_y))
        return turned


def _close(stated_wh: Sequence[float], size_wh: Sequence[int]) -> bool:
    pairs = zip(stated_wh, size_wh, strict=True)
    return all(abs(stated - size) <= max(1.0, _CLOSE * size) for stated, size in pairs)


def _turned(
    xyxy: tuple[float, float, float, float], orientation: int, stored_wh: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return a box of the stored pixels in the image as EXIF's orientation shows it."""
    left, top, right, bottom = xyxy
    width, height = stored_wh
    if orientation in (2, 3, 7, 8):  # mirrored in x (before a transposition)
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):  # mirrored in y
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation > 4 else (left, top, right, bottom)
