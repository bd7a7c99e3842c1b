"""The detections on a picture, and where the picture came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.data.draw_boxes import colour_of, draw_boxes
from tutelage.deploy.sources import read_frame
from tutelage.errors import DataError
from tutelage.structures import Detections


@dataclass(frozen=True, eq=False)
class PictureDetections(Detections):
    """The detections on a picture of a source; see :class:`tutelage.structures.Detections`.

    Attributes:
        path: The file; None for an array, a camera or a stream.
        frame: Which frame of a video, camera or stream, from 0; None for a picture.
        error: Why the picture could not be read, so that there are no detections; else None.
        image: ``(h, w, 3)`` uint8 RGB, of a picture that was given as an array.
    """

    path: Path | None = None
    frame: int | None = None
    error: str | None = None
    image: NDArray[np.uint8] | None = field(default=None, repr=False)

    def plot(self, image: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return a copy of the picture, ``(h, w, 3)`` uint8 RGB, with boxes and captions.

        Args:
            image: The picture, RGB; None: it is read again from its file.

        Raises:
            DataError: The file cannot be read, or there is none.
        """
        if self.error is not None:
            raise DataError(self.error, code="D28")
        if image is None:
            image = self.image
        if image is None and self.path is not None:
            image = read_frame(self.path, self.frame)
        if image is None:
            raise DataError(
                "A frame of a camera or stream is kept in no file.",
                fix="Give the picture:  for frame, found in tutelage.predict_each(…): "
                "found.plot(frame.image)",
                code="D28",
            )
        return draw_detections(image, self)


def draw_detections(image: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """Return a copy of an RGB picture ``(h, w, 3)`` with boxes and captions, the best on top."""
    captions = [f"{box.name or box.label} {box.score:.2f}" for box in detections]
    colours = [colour_of(box.label) for box in detections]
    return draw_boxes(image, detections.xyxy.cpu().numpy(), colours, captions)
