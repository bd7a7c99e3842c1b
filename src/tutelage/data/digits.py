"""The built-in data set: real handwritten digits composed into detection scenes.

The digits are the 1,797 images of 8x8 pixels that scikit-learn carries (E. Alpaydin and C. Kaynak,
"Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0). Each split draws from digit images of its own.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError, MissingExtraError, nearest

Split = Literal["train", "val", "test"]
Floats = NDArray[np.float32]
Whole = NDArray[np.int64]
Range = tuple[float, float]

NAMES: tuple[str, ...] = tuple("0123456789")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
VERSION = 1
"""Part of the folder's name: to be raised whenever the same knobs yield other files."""

_SHARES: Mapping[Split, float] = {"train": 0.60, "val": 0.15, "test": 0.25}
_LUMA: Floats = np.array([0.299, 0.587, 0.114], np.float32)
_CELLS = 8
_PLACES = 48
_EDGE, _INK = 0.02, 0.4
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)


@dataclass(frozen=True)
class Scenes:
    """The knobs of the generator; a pair is the closed range that a uniform draw comes from.

    Intensities are fractions of the full range, lengths are pixels, angles are degrees.

    Args:
        size: Width and height of a scene.
        train: Number of training scenes.
        val: Number of validation scenes.
        test: Number of test scenes.
        digits: Digits per scene.
        height: Height of a digit before its rotation; drawn uniformly in the logarithm.
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
    digits: tuple[int, int] = (3, 7)
    height: Range = (14.0, 56.0)
    stretch: Range = (0.9, 1.35)
    rotation: float = 25.0
    shear: float = 0.2
    weight: Range = (0.4, 0.6)
    softness: Range = (1.0, 2.0)
    background: Range = (0.15, 0.85)
    contrast: Range = (0.2, 0.6)
    tint: float = 0.1
    texture: float = 0.1
    gradient: float = 0.4
    clutter: tuple[int, int] = (3, 9)
    scratches: tuple[int, int] = (0, 2)
    overlap: float = 0.3
    hidden: float = 0.6
    blur: float = 0.8
    noise: float = 0.05


VARIANTS: Mapping[str, Scenes] = {
    "digits": Scenes(),
    "digits:easy": Scenes(
        size=96,
        train=200,
        val=60,
        test=60,
        digits=(2, 4),
        height=(24.0, 38.0),
        stretch=(1.0, 1.2),
        rotation=0.0,
        shear=0.0,
        weight=(0.4, 0.5),
        softness=(1.0, 1.5),
        contrast=(0.5, 0.8),
        tint=0.05,
        texture=0.0,
        gradient=0.0,
        clutter=(0, 0),
        scratches=(0, 0),
        overlap=0.0,
        blur=0.0,
        noise=0.0,
    ),
}


class Scene(NamedTuple):
    """One image and its boxes.

    Attributes:
        image: (size, size, 3) uint8, RGB.
        xyxy: (n, 4) float32 pixels, tight around the ink.
        label: (n,) int64 indices into ``NAMES``.
    """

    image: NDArray[np.uint8]
    xyxy: Floats
    label: Whole


def build(
    root: Path,
    *,
    variant: Literal["digits", "digits:easy"] = "digits",
    seed: int = 0,
    scenes: Scenes | None = None,
) -> Path:
    """Make the data set below ``root``, once, and return its YOLO data yaml.

    The folder's name tells the variant, the version, the seed and a digest of the knobs. It appears
    only when complete; a second call finds it and writes nothing.

    Args:
        root: Folder for built-in data sets; made where it does not exist.
        variant: ``digits`` (moderately hard) or ``digits:easy`` (upright, plain, for quick tests).
        seed: Another seed composes other scenes from the same three groups of digits.
        scenes: Knobs to use instead of the variant's own.

    Raises:
        ConfigError: There is no such variant, or the seed is negative.
        DataError: The folder cannot be written, or lies there incomplete.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if variant not in VARIANTS:
        raise ConfigError(
            f"There is no built-in data set '{variant}'.",
            fix=nearest(variant, VARIANTS) or f"Choose one of: {', '.join(VARIANTS)}.",
        )
    if seed < 0:
        raise ConfigError(f"The seed of '{variant}' is {seed}.", fix="Use 0 or more.")
    knobs = scenes or VARIANTS[variant]
    digest = hashlib.sha256(f"{VERSION} {seed} {knobs!r}".encode()).hexdigest()[:8]
    folder = root / f"{variant.replace(':', '-')}-v{VERSION}-seed{seed}-{digest}"
    yaml = folder / "data.yaml"
    if yaml.is_file():
        return yaml
    glyphs, label = _handwriting()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".digits-", dir=root) as temporary:
            made = Path(temporary) / "made"
            _write(made, knobs, seed, glyphs, label)
            _move(made, folder)
    except OSError as error:
        raise DataError(
            f"Cannot make the data set '{variant}': {error}.",
            where=str(folder),
            fix="Free the disk or remove what is there, or choose another folder for data sets.",
        ) from error
    return yaml


def split_digits(label: Whole) -> dict[Split, Whole]:
    """Divide the digit images into three groups, class by class.

    The division knows no seed: a student trained on the scenes of one seed has never met the digits
    in the validation and test scenes of any other.

    Args:
        label: (n,) class of each digit image.

    Returns:
        Indices of the digit images per split, in ascending order.
    """
    rng = np.random.default_rng(1797)
    groups: dict[Split, list[Whole]] = {split: [] for split in SPLITS}
    shares = np.cumsum([_SHARES[split] for split in SPLITS[:-1]])
    for number in np.unique(label):
        members = rng.permutation(np.flatnonzero(label == number))
        parts = np.split(members, np.rint(shares * len(members)).astype(int))
        for split, part in zip(SPLITS, parts, strict=True):
            groups[split].append(part)
    return {split: np.sort(np.concatenate(parts)) for split, parts in groups.items()}


def deal(pool: Whole, hands: Whole, rng: np.random.Generator) -> list[Any]:
    """Deal digit images to scenes so that every image is used equally often, give or take one.

    Args:
        pool: (n,) indices of the digit images of a split.
        hands: Number of digits of each scene.
        rng: Source of the order.

    Returns:
        One array of indices per scene.
    """
    total = int(hands.sum())
    decks = [rng.permutation(pool) for _ in range(-(-total // len(pool)))]
    cards = np.concatenate([*decks, pool[:0]])[:total]
    return np.split(cards, np.cumsum(hands)[:-1])


def compose(
    scenes: Scenes,
    glyphs: Floats,
    label: Whole,
    scraps: Floats,
    rng: np.random.Generator,
) -> Scene:
    """Compose one scene.

    Args:
        scenes: The knobs.
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
    seen = np.bincount(top[top >= 0], minlength=len(glyphs))
    keep = seen >= (1 - scenes.hidden) * ink
    return Scene(_photograph(canvas, scenes, rng), xyxy[keep], label[keep])


def _handwriting() -> tuple[Floats, Whole]:
    """Return (1797, 8, 8) ink in 0..1 and the (1797,) classes."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            "The built-in digits come with scikit-learn, which is not installed:",
            fix="pip install 'tutelage[demo]'",
        ) from error
    data: Any = load_digits()
    glyphs = np.asarray(data.images, np.float32)
    return glyphs / glyphs.max(axis=(1, 2), keepdims=True), np.asarray(data.target, np.int64)


def _write(folder: Path, scenes: Scenes, seed: int, glyphs: Floats, label: Whole) -> None:
    groups = split_digits(label)
    for number, split in enumerate(SPLITS):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        count: int = getattr(scenes, split)
        rng = np.random.default_rng((seed, number))
        hands = rng.integers(*scenes.digits, size=count, endpoint=True)
        scraps = glyphs[groups[split]]
        for i, hand in enumerate(deal(groups[split], hands, rng)):
            rng = np.random.default_rng((seed, number, i))
            scene = compose(scenes, glyphs[hand], label[hand], scraps, rng)
            _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), _JPEG)
            (images / f"{i:05d}.jpg").write_bytes(jpeg.tobytes())
            (labels / f"{i:05d}.txt").write_text(_yolo_text(scene), encoding="ascii")
    names = ", ".join(f'"{name}"' for name in NAMES)
    lines = [
        "# Scenes composed from the Optical Recognition of Handwritten Digits data set",
        "# (E. Alpaydin, C. Kaynak, UCI 1998, https://doi.org/10.24432/C50P49, CC BY 4.0).",
        f"# seed={seed} {scenes!r}",
        "path: .",
        *(f"{split}: images/{split}" for split in SPLITS),
        f"names: [{names}]",
    ]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="ascii")


def _yolo_text(scene: Scene) -> str:
    low, high = scene.xyxy[:, :2] / scene.image.shape[0], scene.xyxy[:, 2:] / scene.image.shape[0]
    rows = zip(scene.label, np.concatenate([(low + high) / 2, high - low], axis=1), strict=True)
    return "".join(f"{label} {' '.join(f'{v:.8f}' for v in row)}\n" for label, row in rows)


def _move(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        # Another process may have finished the same folder first; its content is identical.
        if not (folder / "data.yaml").is_file():
            raise


def _background(scenes: Scenes, rng: np.random.Generator) -> Floats:
    """Return a (3, size, size) canvas: a level, a gradient, noise at several scales, a tint."""
    size = scenes.size
    luminance = np.full((size, size), rng.uniform(*scenes.background), np.float32)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle, rise = rng.uniform(0, 2 * np.pi), rng.uniform(0, scenes.gradient)
    luminance += rise * (np.cos(angle) * across + np.sin(angle) * across[:, None])
    shares = np.sqrt(rng.dirichlet(np.ones(4))) * rng.uniform(0, scenes.texture)
    # Cells that differ between the axes give grain and stripes beside the isotropic clouds.
    for share, cells in zip(shares, rng.uniform(0.7, np.log(size / 2), (4, 2)), strict=True):
        luminance += share * _clouds(np.rint(np.exp(cells)).astype(int), size, rng)
    clouds = np.stack([_clouds((4, 4), size, rng) for _ in range(3)])
    colours = scenes.tint * (clouds + rng.standard_normal((3, 1, 1), np.float32))
    return np.clip(luminance + colours - np.tensordot(_LUMA, colours, 1), 0, 1)


def _clouds(cells: Sequence[int] | Whole, size: int, rng: np.random.Generator) -> Floats:
    grid = rng.standard_normal(tuple(cells), np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _render(glyph: Floats, scenes: Scenes, rng: np.random.Generator, *, rotation: float) -> Floats:
    """Return the opacity of a digit after its transform, cropped to where there is any."""
    scale = float(np.exp(rng.uniform(*np.log(scenes.height)))) / _CELLS
    angle = np.deg2rad(rng.uniform(-rotation, rotation))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[1.0, rng.uniform(-scenes.shear, scenes.shear)], [0.0, 1.0]])
    linear = turn @ slant @ np.diag([scale * rng.uniform(*scenes.stretch), scale])
    # Ink fades to nothing within one cell beyond the border: the patch spans ten cells, not eight.
    side = np.ceil(np.abs(linear) @ np.full(2, _CELLS + 2.0)).astype(int) + 1
    centre = (side - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
    matrix = np.column_stack([linear, centre - linear @ np.full(2, (_CELLS - 1) / 2)])
    warped = cv2.warpAffine(glyph, matrix, side.tolist(), flags=cv2.INTER_CUBIC)
    # Upsampling blurs a step to about one cell; this sharpens it to `softness` pixels.
    alpha = (warped - rng.uniform(*scenes.weight)) * (scale / rng.uniform(*scenes.softness)) + 0.5
    return _crop(np.clip(alpha, 0, 1))


def _stroke(size: int, rng: np.random.Generator, *, thickness: int) -> Floats:
    """Return the opacity of a curved stroke (a quadratic Bezier curve), cropped."""
    corner, bend, end = rng.uniform(0.2, 0.8, (3, 2)) * size
    t = np.linspace(0, 1, 13)[:, None]
    curve = (1 - t) ** 2 * corner + 2 * t * (1 - t) * bend + t**2 * end
    mask = np.zeros((size, size), np.uint8)
    cv2.polylines(mask, [np.rint(curve).astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    return _crop(mask / np.float32(255))


def _blob(size: int, rng: np.random.Generator) -> Floats:
    """Return the opacity of a filled ellipse, sharp or soft, cropped."""
    longest = max(size // 10, 3)
    axes, centre = rng.integers(2, longest, 2, endpoint=True).tolist(), (2 * longest, 2 * longest)
    mask = np.zeros((4 * longest + 1, 4 * longest + 1), np.uint8)
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return _crop(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 3)) / np.float32(255))


def _clutter(scenes: Scenes, scraps: Floats, rng: np.random.Generator) -> Floats:
    """Return the opacity of a stroke, a blob or a fragment of a digit."""
    kind = rng.integers(3)
    if kind == 0:
        return _stroke(scenes.size, rng, thickness=int(rng.integers(1, 5)))
    if kind == 1:
        return _blob(scenes.size, rng)
    # A few rows of the top or the bottom: ink of the right kind that is no digit.
    fragment, rows = scraps[rng.integers(len(scraps))].copy(), rng.integers(2, 5)
    fragment[rows:] = 0
    return _render(fragment[:: rng.choice([-1, 1])], scenes, rng, rotation=180.0)


def _crop(alpha: Floats) -> Floats:
    x1, y1, x2, y2 = _bounds(alpha > _EDGE)
    return alpha[y1:y2, x1:x2]


def _bounds(mask: NDArray[np.bool_]) -> Whole:
    """Return the xyxy, in whole pixels, of what is set in a (h, w) mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([x, y, x + width, y + height])


def _anywhere(alpha: Floats, size: int, rng: np.random.Generator, count: int = 1) -> Whole:
    """Return (count, 2) top left pixels at which a patch lies within the canvas."""
    room = np.maximum(size - np.array(alpha.shape[::-1]), 0)
    return rng.integers(0, room, size=(count, 2), endpoint=True)


def _place(places: Whole, box: Whole, others: Floats, overlap: float) -> Whole:
    """Return the first of the places where boxes overlap little, or else where the least."""
    if not len(others):
        return places[:1]
    boxes = box + np.tile(places, 2)[:, None]
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    sides, wh, other_wh = np.maximum(sides, 0), box[2:] - box[:2], others[:, 2:] - others[:, :2]
    smaller = np.minimum(wh[0] * wh[1], other_wh[:, 0] * other_wh[:, 1])
    worst = (sides[..., 0] * sides[..., 1] / smaller).max(axis=1)
    best = int(np.maximum(worst, overlap).argmin())
    return places[best : best + 1]


def _window(canvas: Any, alpha: Floats, at: Whole) -> Any:
    """Return the part of a (..., size, size) canvas that a patch at (1, 2) pixels covers."""
    (x, y), (height, width) = at[0].tolist(), alpha.shape
    return canvas[..., y : y + height, x : x + width]


def _paint(
    canvas: Floats, alpha: Floats, at: Whole, scenes: Scenes, rng: np.random.Generator
) -> None:
    """Lay ink of one colour on the canvas, darker or lighter than what lies beneath."""
    region: Floats = _window(canvas, alpha, at)
    under = float(_LUMA @ np.tensordot(region, alpha, 2)) / float(alpha.sum())
    contrast, tint = rng.uniform(*scenes.contrast), scenes.tint * rng.standard_normal(3, np.float32)
    sign = rng.choice([-1, 1])
    if not 0 <= under + sign * contrast <= 1:
        sign = 1 if under < 0.5 else -1
    colour = np.clip(under + sign * contrast + tint - tint @ _LUMA, 0, 1).astype(np.float32)
    region += alpha * (colour[:, None, None] - region)


def _photograph(canvas: Floats, scenes: Scenes, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the canvas as a camera sees it: blurred, with noise, (size, size, 3) in eight bits."""
    blur, noise = rng.uniform(0, scenes.blur), rng.uniform(0, scenes.noise)
    seen = cv2.merge(list(canvas))
    seen = cv2.GaussianBlur(seen, (0, 0), blur) if blur > 0.2 else seen
    seen = seen + np.float32(noise) * rng.standard_normal(seen.shape, np.float32)
    return np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8)
