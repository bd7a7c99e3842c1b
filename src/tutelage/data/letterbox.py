"""An image with its boxes, and the letterbox transformation onto a canvas of another shape."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

GREY = 114

Boxes = TypeVar("Boxes", NDArray[np.float32], Tensor)


class Sample(NamedTuple):
    """An image and its objects.

    Attributes:
        image: ``(h, w, 3)`` uint8, **RGB**. Treat it as read-only: it may be shared with a cache.
        xyxy: ``(n, 4)`` float32 corners in pixels; of ``image``, unless ``pixel_ratio`` is not 1.
        label: ``(n,)`` int64 class.
        pixel_ratio: Pixels of ``image``, along each side, per pixel of ``size_wh`` and ``xyxy``: an
            image with 2 is laid out like one of half its size, and drawn with all its pixels.
    """

    image: NDArray[np.uint8]
    xyxy: NDArray[np.float32]
    label: NDArray[np.int64]
    pixel_ratio: int = 1

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the image in the pixels of its boxes."""
        height, width = self.image.shape[:2]
        return width // self.pixel_ratio, height // self.pixel_ratio


class Letterbox(NamedTuple):
    """How an image lies on a canvas: resized to ``new_wh``, its top left corner at ``pad``.

    Box coordinates are pixel *edges*: the box of the whole image maps to exactly the part of the
    canvas that it fills. The factors of the two axes may differ by the rounding of ``new_wh``.

    Attributes:
        scale: The common factor before rounding to whole pixels.
        pad: Grey pixels to the left and above.
        new_wh: Width and height of the image on the canvas.
        size_wh: Width and height of the original image.
    """

    scale: float
    pad: tuple[int, int]
    new_wh: tuple[int, int]
    size_wh: tuple[int, int]

    def apply(self, xyxy: Boxes) -> Boxes:
        """Map ``(n, 4)`` corners from the original image to the canvas."""
        scale, pad = self._per_corner(xyxy)
        return xyxy * scale + pad

    def inverse(self, xyxy: Boxes) -> Boxes:
        """Map ``(n, 4)`` corners from the canvas to the original image (not clipped)."""
        scale, pad = self._per_corner(xyxy)
        return (xyxy - pad) / scale

    def resized(self, xyxy: Boxes) -> Boxes:
        """Map ``(n, 4)`` corners to the resized image before it is placed on the canvas."""
        return xyxy * self._per_corner(xyxy)[0]

    def _per_corner(self, like: Boxes) -> tuple[Boxes, Boxes]:
        ratio = [new / old for new, old in zip(self.new_wh, self.size_wh, strict=True)] * 2
        offset = [float(pad) for pad in self.pad] * 2
        if isinstance(like, Tensor):
            return like.new_tensor(ratio), like.new_tensor(offset)
        return np.array(ratio, dtype=like.dtype), np.array(offset, dtype=like.dtype)


def letterbox_geometry(
    size_wh: tuple[int, int], canvas_hw: tuple[int, int], *, longest: int | None = None
) -> Letterbox:
    """Fit an image onto a canvas: centred, as large as possible, aspect ratio kept.

    Args:
        size_wh: Width and height of the image.
        canvas_hw: Height and width of the canvas.
        longest: Upper limit of the image's longer side on the canvas, if the canvas has a margin.
    """
    width, height = size_wh
    scale = min(canvas_hw[0] / height, canvas_hw[1] / width)
    if longest is not None:
        scale = min(scale, longest / max(width, height))
    new_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    pad = ((canvas_hw[1] - new_wh[0]) // 2, (canvas_hw[0] - new_wh[1]) // 2)
    return Letterbox(scale, pad, new_wh, (width, height))


def fitted_canvas(size_wh: tuple[int, int], image_size: int, stride: int) -> tuple[int, int]:
    """Return the smallest ``(h, w)``, multiples of ``stride``, for a longer side ``image_size``."""
    new = fit_wh(size_wh, image_size)
    return stride * -(-new[1] // stride), stride * -(-new[0] // stride)


def fit_wh(size_wh: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return ``size_wh`` scaled so that the longer side is ``longest``, in whole pixels."""
    scale = longest / max(size_wh)
    return max(round(size_wh[0] * scale), 1), max(round(size_wh[1] * scale), 1)


def resize(
    image: NDArray[np.uint8], new_wh: tuple[int, int], *, smooth: bool = False
) -> NDArray[np.uint8]:
    """Resize bilinearly; with ``smooth`` by area averaging when shrinking."""
    height, width = image.shape[:2]
    if (width, height) == new_wh:
        return image
    shrinks = new_wh[0] < width or new_wh[1] < height
    method = cv2.INTER_AREA if smooth and shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, new_wh, interpolation=method), dtype=np.uint8)


def letterbox(
    image: NDArray[np.uint8], canvas_hw: tuple[int, int], *, longest: int | None = None
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Return an image on a grey canvas ``(h, w, 3)``, as in evaluation, and its letterbox."""
    height, width = image.shape[:2]
    geometry = letterbox_geometry((width, height), canvas_hw, longest=longest)
    canvas = np.full((*canvas_hw, 3), GREY, np.uint8)
    (left, top), (new_w, new_h) = geometry.pad, geometry.new_wh
    canvas[top : top + new_h, left : left + new_w] = resize(image, geometry.new_wh, smooth=True)
    return canvas, geometry
