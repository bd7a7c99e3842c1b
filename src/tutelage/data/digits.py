"""The built-in data set: real handwritten digits composed into detection scenes.

The digits are the 1,797 images of 8x8 pixels that scikit-learn carries (E. Alpaydin and C. Kaynak,
"Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0). Each split draws from digit images of its own.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tutelage.data.digit_scenes import Floats, Integers, Scene, SceneSettings, compose
from tutelage.data.index import SPLITS, Split
from tutelage.errors import ConfigError, DataError, MissingExtraError, nearest

NAMES: tuple[str, ...] = tuple("0123456789")
VERSION = 1
"""Part of the folder's name: to be raised whenever the same settings yield other files."""

_SHARES: Mapping[Split, float] = {"train": 0.60, "val": 0.15, "test": 0.25}
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)

VARIANTS: Mapping[str, SceneSettings] = {
    "digits": SceneSettings(),
    "digits:easy": SceneSettings(
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


def build(
    root: Path,
    *,
    variant: str = "digits",
    seed: int = 0,
    scenes: SceneSettings | None = None,
) -> Path:
    """Make the data set below ``root``, once, and return its YOLO data yaml.

    The folder's name has the variant, the version, the seed and a digest of the settings. It is
    written atomically and reused by later calls.

    Args:
        root: Folder for built-in data sets; made where it does not exist.
        variant: ``digits`` (moderately hard) or ``digits:easy`` (upright, plain, for quick tests).
        seed: Seed of the scenes; the three groups of digits do not depend on it.
        scenes: Settings that replace the variant's own.

    Raises:
        ConfigError: There is no such variant, or the seed is negative.
        DataError: The folder cannot be written, or lies there incomplete.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if variant not in VARIANTS:
        fix = nearest(variant, VARIANTS) or f"Choose one of: {', '.join(VARIANTS)}."
        raise ConfigError(f"There is no built-in data set '{variant}'.", fix=fix, code="C25")
    if seed < 0:
        raise ConfigError(f"The seed of '{variant}' is {seed}.", fix="Use 0 or more.", code="C25")
    settings = scenes or VARIANTS[variant]
    digest = hashlib.sha256(f"{VERSION} {seed} {settings!r}".encode()).hexdigest()[:8]
    folder = root / f"{variant.replace(':', '-')}-v{VERSION}-seed{seed}-{digest}"
    yaml = folder / "data.yaml"
    if yaml.is_file():
        return yaml
    glyphs, label = _handwriting()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".digits-", dir=root) as temporary:
            made = Path(temporary) / "made"
            _write(made, settings, seed, glyphs, label)
            _move(made, folder)
    except OSError as error:
        what = f"Cannot make the data set '{variant}': {error}."
        fix = "Free the disk or remove what is there, or choose another folder for data sets."
        raise DataError(what, where=str(folder), fix=fix, code="D29") from error
    return yaml


def split_digits(label: Integers) -> dict[Split, Integers]:
    """Divide the digit images into three groups, class by class.

    The division knows no seed: a student trained on the scenes of one seed has never met the digits
    in the validation and test scenes of any other.

    Args:
        label: (n,) class of each digit image.

    Returns:
        Indices of the digit images per split, in ascending order.
    """
    rng = np.random.default_rng(1797)
    groups: dict[Split, list[Integers]] = {split: [] for split in SPLITS}
    shares = np.cumsum([_SHARES[split] for split in SPLITS[:-1]])
    for number in np.unique(label):
        members = rng.permutation(np.flatnonzero(label == number))
        parts = np.split(members, np.rint(shares * len(members)).astype(int))
        for split, part in zip(SPLITS, parts, strict=True):
            groups[split].append(part)
    return {split: np.sort(np.concatenate(parts)) for split, parts in groups.items()}


def deal(pool: Integers, hands: Integers, rng: np.random.Generator) -> list[Integers]:
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


def _handwriting() -> tuple[Floats, Integers]:
    """Return (1797, 8, 8) ink in 0..1 and the (1797,) classes."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        what = "The built-in digits come with scikit-learn, which is not installed:"
        fix = "pip install 'tutelage[demo]'"
        raise MissingExtraError(what, fix=fix) from error
    data: Any = load_digits()
    glyphs = np.asarray(data.images, np.float32)
    return glyphs / glyphs.max(axis=(1, 2), keepdims=True), np.asarray(data.target, np.int64)


def _write(folder: Path, scenes: SceneSettings, seed: int, glyphs: Floats, label: Integers) -> None:
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
