"""Random affine and perspective transformations of images with boxes."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.config.schema import AugmentConfig
from tutelage.data.augment.collage import Collage
from tutelage.data.letterbox import GREY, Sample, resize

_MIN_SIDE = 2.0
_MIN_AREA_SHARE = 0.10
_SMALLEST_CROP_SCALE = 0.5  # below it the crop outgrows the canvas of a mosaic


class Transform(NamedTuple):
    """The parameters of one transformation.

    Attributes:
        perspective: Bottom row of the projective matrix, for x and y.
        angle: Degrees, counter-clockwise.
        scale: Enlargement.
        shear: Degrees, along x and along y.
        centre: Position of the canvas centre in the output, as fractions of width and height.
    """

    perspective: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    scale: float = 1.0
    shear: tuple[float, float] = (0.0, 0.0)
    centre: tuple[float, float] = (0.5, 0.5)

    @property
    def upright(self) -> bool:
        """Whether it only enlarges and shifts."""
        return self.angle == 0 and self.perspective == self.shear == (0.0, 0.0)


def draw_transform(config: AugmentConfig, rng: np.random.Generator) -> Transform:
    """Draw the parameters of a transformation within the limits of ``config``."""

    def pair(limit: float, middle: float = 0.0) -> tuple[float, float]:
        first, second = rng.uniform(middle - limit, middle + limit, 2).tolist()
        return first, second

    return Transform(
        perspective=pair(config.perspective),
        angle=float(rng.uniform(-config.degrees, config.degrees)),
        scale=max(float(rng.uniform(1 - config.scale, 1 + config.scale_up + config.scale)), 1e-2),
        shear=pair(config.shear),
        centre=pair(config.translate, 0.5),
    )


def transform_matrix(
    transform: Transform, size_wh: tuple[int, int], out_wh: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the ``(3, 3)`` matrix from canvas to output coordinates.

    Centring, perspective, rotation with scale, shear, and translation: ``T · S · R · P · C``.

    Args:
        transform: The parameters.
        size_wh: Width and height of the canvas.
        out_wh: Width and height of the output.
    """
    centring = np.eye(3)
    centring[:2, 2] = -size_wh[0] / 2, -size_wh[1] / 2
    perspective = np.eye(3)
    perspective[2, :2] = transform.perspective
    angle = math.radians(transform.angle)
    cos, sin = transform.scale * math.cos(angle), transform.scale * math.sin(angle)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.eye(3)
    shear[0, 1], shear[1, 0] = (math.tan(math.radians(degrees)) for degrees in transform.shear)
    moving = np.eye(3)
    moving[:2, 2] = transform.centre[0] * out_wh[0], transform.centre[1] * out_wh[1]
    return moving @ shear @ turn @ perspective @ centring


def transform_boxes(xyxy: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the upright boxes ``(n, 4)`` around the four transformed corners of each box."""
    corners = xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2).astype(np.float64)
    moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
    depth = corners @ matrix[2, :2] + matrix[2, 2]
    moved = (moved / depth[:, None]).reshape(-1, 4, 2)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).astype(np.float32)


def box_candidates(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    *,
    max_aspect: float,
    min_area_share: float = _MIN_AREA_SHARE,
) -> NDArray[np.bool_]:
    """Return which boxes are kept after a transformation and clipping.

    Args:
        before: ``(n, 4)`` corners, already enlarged by the transformation's scale.
        after: ``(n, 4)`` corners after clipping to the output.
        max_aspect: Thinner boxes are dropped.
        min_area_share: Share of the area that must remain.

    Returns:
        ``(n,)``: wider and higher than 2 pixels, large enough a share, not too thin.
    """
    width, height = after[:, 2] - after[:, 0], after[:, 3] - after[:, 1]
    area = (before[:, 2] - before[:, 0]) * (before[:, 3] - before[:, 1])
    long, short = np.maximum(width, height), np.minimum(width, height)
    share = width * height > min_area_share * (area + 1e-16)
    return (short > _MIN_SIDE) & share & (long < max_aspect * short)


def view(
    collage: Collage,
    transform: Transform,
    out_wh: tuple[int, int],
    *,
    max_aspect: float,
    zoom: float = 1.0,
) -> Sample:
    """Apply a transformation to a collage.

    One that only enlarges and shifts is rounded to whole canvas pixels and done by a crop and a
    resize: four times as fast as a warp, and only the crop is rendered.

    Args:
        collage: The images with their boxes.
        transform: The parameters.
        out_wh: Width and height of the result at zoom 1.
        max_aspect: Thinner boxes are dropped.
        zoom: Draw the same at so many times the size, with the same boxes times ``zoom``. The
            ``pixel_ratio`` of the collage should not be smaller.
    """
    matrix = transform_matrix(transform, collage.size_wh, out_wh)
    drawn_wh = (round(out_wh[0] * zoom), round(out_wh[1] * zoom))
    if transform.upright and transform.scale >= _SMALLEST_CROP_SCALE:
        window, matrix = _whole_pixels(matrix, out_wh)
        smooth = zoom < collage.pixel_ratio
        image = resize(collage.render(window), drawn_wh, smooth=smooth)
    else:
        shrink = np.diag([1 / collage.pixel_ratio, 1 / collage.pixel_ratio, 1])
        enlarge = np.diag([zoom, zoom, 1])
        image = _warp(collage.render(), enlarge @ matrix @ shrink, drawn_wh)
    before, label = collage.boxes()
    limit = np.array([*out_wh, *out_wh], np.float32)
    after = np.clip(transform_boxes(before, matrix), 0, limit)
    keep = box_candidates(before * np.float32(transform.scale), after, max_aspect=max_aspect)
    return Sample(image, after[keep] * np.float32(zoom), label[keep])


def _whole_pixels(
    matrix: NDArray[np.float64], out_wh: tuple[int, int]
) -> tuple[tuple[int, int, int, int], NDArray[np.float64]]:
    """Return the part of the canvas that an upright matrix shows, and the matrix that does so."""
    scale = matrix[0, 0]
    left, top = (round(-matrix[axis, 2] / scale) for axis in (0, 1))
    width, height = (max(round(side / scale), 1) for side in out_wh)
    x, y = out_wh[0] / width, out_wh[1] / height
    rounded = np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1]])
    return (left, top, left + width, top + height), rounded


def _warp(
    canvas: NDArray[np.uint8], matrix: NDArray[np.float64], out_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    # Box coordinates are pixel edges; OpenCV's integer coordinates are pixel centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centred = np.linalg.inv(half) @ matrix @ half
    border = (GREY, GREY, GREY)
    if np.array_equal(matrix[2], (0, 0, 1)):
        image = cv2.warpAffine(canvas, centred[:2], out_wh, borderValue=border)
    else:
        image = cv2.warpPerspective(canvas, centred, out_wh, borderValue=border)
    return np.asarray(image, dtype=np.uint8)
