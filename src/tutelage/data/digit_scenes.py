"""Scenes of handwritten digits on clutter: an image and its boxes from 8x8 digit images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Range = tuple[float, float]

_LUMA: Floats = np.array([0.299, 0.587, 0.114], np.float32)
_CELLS = 8  # rows and columns of a glyph
_PLACES = 48  # places tried for a digit
_EDGE, _INK = 0.02, 0.4  # opacity from which a pixel is painted at all, and counts as ink


@dataclass(frozen=True)
class SceneSettings:
    """The settings of the generator; a pair is the closed range of a uniform draw.

    Intensities are fractions of the full range, lengths are pixels, angles are degrees.

    Args:
        size: Width and height of a scene.
        train: Number of training scenes.
        val: Number of validation scenes.
        test: Number of test scenes.
        digits: Digits per scene.
        height: Height of a digit before its rotation, uniform in the logarithm; well below `size`.
        stretch: Width of a digit relative to its own proportions.
        rotation: Largest rotation to either side.
        shear: Largest slant to either side, as a tangent.
        weight: Grey level at which ink begins: low is bold, high is thin.
        softness: Width of the edge of a stroke.
        background: Luminance of the background.
        contrast: Difference in luminance between ink and what lies beneath; darker or lighter.
        tint: Standard deviation of the colour added to ink and background.
        texture: Largest standard deviation of the background's noise.
        gradient: Largest rise of luminance across the background.
        clutter: Pieces of clutter (strokes, blobs, fragments of digits) behind the digits.
        scratches: Thin strokes in front of the digits.
        overlap: How much of the smaller of two boxes may be shared, where there is room.
        hidden: A digit with more of its ink covered than this has no label.
        blur: Largest standard deviation of the lens.
        noise: Largest standard deviation of the sensor.
    """

    size: int = 128
    train: int = 600
    val: int = 150
    test: int = 300
    digits: tuple[int, int] = (3, 6)
    height: Range = (20.0, 52.0)
    stretch: Range = (0.9, 1.35)
    rotation: float = 15.0
    shear: float = 0.2
    weight: Range = (0.4, 0.6)
    softness: Range = (1.0, 2.0)
    background: Range = (0.15, 0.85)
    contrast: Range = (0.35, 0.8)
    tint: float = 0.05
    texture: float = 0.06
    gradient: float = 0.4
    clutter: tuple[int, int] = (1, 4)
    scratches: tuple[int, int] = (0, 1)
    overlap: float = 0.3
    hidden: float = 0.6
    blur: float = 0.8
    noise: float = 0.05


class Scene(NamedTuple):
    """One image and its boxes.

    Attributes:
        image: (size, size, 3) uint8, RGB.
        xyxy: (n, 4) float32 pixels, tight around the ink.
        label: (n,) int64 classes.
    """

    image: NDArray[np.uint8]
    xyxy: Floats
    label: Integers


def compose(
    scenes: SceneSettings,
    glyphs: Floats,
    label: Integers,
    scraps: Floats,
    rng: np.random.Generator,
) -> Scene:
    """Compose one scene.

    Args:
        scenes: The settings.
        glyphs: (n, 8, 8) ink in 0..1 of the digits to place, the last on top.
        label: (n,) their classes.
        scraps: (m, 8, 8) digits of the same split, of which fragments serve as clutter.
        rng: Source of everything that varies.
    """
    canvas = _background(scenes, rng)
    for _ in range(rng.integers(*scenes.clutter, endpoint=True)):
        alpha = _clutter(scenes, scraps, rng)
        _paint(canvas, alpha, _anywhere(alpha, scenes.size, rng), scenes, rng)
    top = np.full((scenes.size, scenes.size), -1, np.int16)
    xyxy, ink = np.zeros((len(glyphs), 4), np.float32), np.zeros(len(glyphs))
    for i, glyph in enumerate(glyphs):
        alpha = _render(glyph, scenes, rng, rotation=scenes.rotation)
        box = _bounds(alpha > _INK)
        at = _place(_anywhere(alpha, scenes.size, rng, _PLACES), box, xyxy[:i], scenes.overlap)
        xyxy[i], ink[i] = box + np.tile(at, 2), np.count_nonzero(alpha > _INK)
        _window(top, alpha, at)[alpha > _INK] = i
        _paint(canvas, alpha, at, scenes, rng)
    for _ in range(rng.integers(*scenes.scratches, endpoint=True)):
        alpha = _stroke(scenes.size, rng, thickness=1)
        at = _anywhere(alpha, scenes.size, rng)
        _window(top, alpha, at)[alpha > _INK] = -1
        _paint(canvas, alpha, at, scenes, rng)
    visible = np.bincount(top[top >= 0], minlength=len(glyphs))
    keep = visible >= (1 - scenes.hidden) * ink
    return Scene(_photograph(canvas, scenes, rng), xyxy[keep], label[keep])


def _background(scenes: SceneSettings, rng: np.random.Generator) -> Floats:
    """Return a (3, size, size) canvas: a level, a gradient, noise at several scales, a tint."""
    size = scenes.size
    luminance = np.full((size, size), rng.uniform(*scenes.background), np.float32)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle, rise = rng.uniform(0, 2 * math.pi), rng.uniform(0, scenes.gradient)
    luminance += rise * math.cos(angle) * across + (rise * math.sin(angle) * across)[:, None]
    shares = (np.sqrt(rng.dirichlet(np.ones(4))) * rng.uniform(0, scenes.texture)).tolist()
    # Cells that differ between the axes give grain and stripes beside the isotropic clouds.
    for share, cells in zip(shares, rng.uniform(0.7, np.log(size / 2), (4, 2)), strict=True):
        grid = rng.standard_normal(np.rint(np.exp(cells)).astype(int).tolist(), np.float32)
        luminance += share * _enlarge(grid, size)
    colours = scenes.tint * (rng.standard_normal((3, 4, 4)) + rng.standard_normal((3, 1, 1)))
    colours -= np.tensordot(_LUMA, colours, 1)
    canvas = luminance + np.stack([_enlarge(c, size) for c in colours.astype(np.float32)])
    return np.clip(canvas, np.float32(0), np.float32(1))


def _enlarge(grid: Floats, size: int) -> Floats:
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _render(
    glyph: Floats, scenes: SceneSettings, rng: np.random.Generator, *, rotation: float
) -> Floats:
    """Return the opacity of a digit after its transform, cropped to where there is any."""
    low, high = scenes.height
    scale = low * (high / low) ** rng.random() / _CELLS
    across, slant = scale * rng.uniform(*scenes.stretch), rng.uniform(-scenes.shear, scenes.shear)
    angle = math.radians(rng.uniform(-rotation, rotation))
    cos, sin = math.cos(angle), math.sin(angle)
    # Stretch, then slant, then turn.
    linear = np.array(
        [[cos * across, (cos * slant - sin) * scale], [sin * across, (sin * slant + cos) * scale]]
    )
    # Ink fades to nothing within one cell beyond the border: the patch spans ten cells, not eight.
    side = np.ceil(np.abs(linear).sum(axis=1) * (_CELLS + 2)).astype(int) + 1
    centre = (side - 1) / 2 + rng.random(2) - 0.5
    matrix = np.column_stack([linear, centre - linear.sum(axis=1) * ((_CELLS - 1) / 2)])
    warped = cv2.warpAffine(glyph, matrix, side.tolist(), flags=cv2.INTER_CUBIC)
    # Upsampling blurs a step to about one cell; this sharpens it to `softness` pixels.
    gain = np.float32(scale / rng.uniform(*scenes.softness))
    alpha = (warped - np.float32(rng.uniform(*scenes.weight))) * gain + np.float32(0.5)
    return _crop(np.clip(alpha, 0, 1))


def _stroke(size: int, rng: np.random.Generator, *, thickness: int) -> Floats:
    """Return the opacity of a curved stroke (a quadratic Bezier curve), cropped."""
    corner, bend, end = rng.uniform(0.2, 0.8, (3, 2)) * size
    t = np.linspace(0, 1, 13)[:, None]
    curve = (1 - t) ** 2 * corner + 2 * t * (1 - t) * bend + t**2 * end
    mask = np.zeros((size, size), np.uint8)
    cv2.polylines(mask, [np.rint(curve).astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    return _crop(mask)


def _blob(size: int, rng: np.random.Generator) -> Floats:
    """Return the opacity of a filled ellipse, sharp or soft, cropped."""
    longest = max(size // 10, 3)
    axes, centre = rng.integers(2, longest, 2, endpoint=True).tolist(), (2 * longest, 2 * longest)
    mask = np.zeros((4 * longest + 1, 4 * longest + 1), np.uint8)
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return _crop(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 3)))


def _clutter(scenes: SceneSettings, scraps: Floats, rng: np.random.Generator) -> Floats:
    """Return the opacity of a stroke, a blob or a fragment of a digit."""
    kind = rng.integers(3)
    if kind == 0:
        return _stroke(scenes.size, rng, thickness=int(rng.integers(1, 5)))
    if kind == 1:
        return _blob(scenes.size, rng)
    # A few rows of the top or the bottom: ink of the right kind that is no digit.
    fragment, rows = np.zeros_like(scraps[0]), int(rng.integers(2, 5))
    part = slice(0, rows) if rng.random() < 0.5 else slice(_CELLS - rows, None)
    fragment[part] = scraps[rng.integers(len(scraps))][part]
    return _render(fragment, scenes, rng, rotation=180.0)


def _crop(opacity: Any) -> Floats:
    """Return the opacity, floats or bytes, as floats and cut to where there is any."""
    alpha: Floats = opacity / np.float32(255) if opacity.dtype == np.uint8 else opacity
    x1, y1, x2, y2 = _bounds(alpha > _EDGE)
    return alpha[y1:y2, x1:x2]


def _bounds(mask: NDArray[np.bool_]) -> Integers:
    """Return the xyxy, in whole pixels, of what is set in a (h, w) mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([x, y, x + width, y + height])


def _anywhere(alpha: Floats, size: int, rng: np.random.Generator, count: int = 1) -> Integers:
    """Return (count, 2) random top left pixels at which a patch lies within the canvas."""
    room = np.maximum(size - np.array(alpha.shape[::-1]), 0)
    return (rng.random((count, 2)) * (room + 1)).astype(np.int64)


def _place(places: Integers, box: Integers, others: Floats, overlap: float) -> Integers:
    """Return the first of the places where boxes overlap little enough, else the one with least."""
    if not len(others):
        return places[:1]
    boxes = box + np.tile(places, 2)[:, None]
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    sides, wh, other_wh = np.maximum(sides, 0), box[2:] - box[:2], others[:, 2:] - others[:, :2]
    smaller = np.minimum(wh[0] * wh[1], other_wh[:, 0] * other_wh[:, 1])
    worst = (sides[..., 0] * sides[..., 1] / smaller).max(axis=1)
    best = int(np.maximum(worst, overlap).argmin())
    return places[best : best + 1]


def _window(canvas: Any, alpha: Floats, at: Integers) -> Any:
    """Return the part of a (..., size, size) canvas that a patch at (1, 2) pixels covers."""
    (x, y), (height, width) = at[0].tolist(), alpha.shape
    return canvas[..., y : y + height, x : x + width]


def _paint(
    canvas: Floats, alpha: Floats, at: Integers, scenes: SceneSettings, rng: np.random.Generator
) -> None:
    """Lay ink of one colour on the canvas, darker or lighter than what lies beneath."""
    if not alpha.size:  # a faint fragment can vanish
        return
    region: Floats = _window(canvas, alpha, at)
    under = float(_LUMA @ np.einsum("chw,hw->c", region, alpha) / alpha.sum())
    contrast, tint = rng.uniform(*scenes.contrast), scenes.tint * rng.standard_normal(3, np.float32)
    sign = 1 if rng.random() < 0.5 else -1
    if not 0 <= under + sign * contrast <= 1:
        sign = 1 if under < 0.5 else -1
    colour = np.clip(under + sign * contrast + tint - tint @ _LUMA, 0, 1).astype(np.float32)
    region += alpha * (colour[:, None, None] - region)


def _photograph(
    canvas: Floats, scenes: SceneSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the canvas blurred and with noise, as (size, size, 3) uint8."""
    blur, noise = rng.uniform(0, scenes.blur), rng.uniform(0, scenes.noise)
    seen = cv2.merge(list(canvas))
    seen = cv2.GaussianBlur(seen, (0, 0), blur) if blur > 0.2 else seen
    grain = noise * rng.standard_normal((*seen.shape[:2], 1), np.float32)
    return np.rint(np.clip(seen + grain, 0, 1) * 255).astype(np.uint8)
