"""Small YOLO data sets on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import yaml

GOOD = "0 0.5 0.5 0.25 0.5\n"
OTHER = "1 0.4 0.4 0.25 0.25\n"
NAMES = ["cat", "dog"]


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth random RGB image: survives JPEG, and differs by seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def write_image(path: Path, width: int = 64, height: int = 48, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(width, height, seed)[..., ::-1])
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_yaml(path: Path, /, **keys: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(keys, sort_keys=False))
    return path


def make_dataset(root: Path, labels: dict[str, str | None], *, split: str = "train") -> Path:
    """Write one image per entry (64 x 48), its label file unless None, and the yaml."""
    for number, (stem, text) in enumerate(labels.items()):
        write_image(root / "images" / split / f"{stem}.jpg", seed=number)
        if text is not None:
            write_text(root / "labels" / split / f"{stem}.txt", text)
    return write_yaml(
        root / "data.yaml",
        path=".",
        train="images/train",
        val="images/train",
        names=NAMES,
    )


def make_scenes(root: Path, count: int, sizes: tuple[tuple[int, int], ...] = ((64, 48),)) -> Path:
    """Write ``count`` images with one to three boxes each, of the given sizes in turn."""
    rng = np.random.default_rng(1)
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        write_image(root / "images" / "train" / f"{number:03}.png", width, height, seed=number)
        lines = [
            f"{rng.integers(2)} {x:.4f} {y:.4f} 0.3 0.4"
            for x, y in rng.uniform(0.25, 0.75, (rng.integers(1, 4), 2))
        ]
        write_text(root / "labels" / "train" / f"{number:03}.txt", "\n".join(lines))
    return write_yaml(root / "data.yaml", train="images/train", val="images/train", names=NAMES)


def make_sound(root: Path) -> Path:
    """Two splits of two images, without findings."""
    make_dataset(root, {"a": GOOD, "b": OTHER})
    for number, stem in enumerate("cd"):
        write_image(root / "images" / "val" / f"{stem}.jpg", seed=50 + number)
        write_text(root / "labels" / "val" / f"{stem}.txt", GOOD if number else OTHER)
    return write_yaml(root / "data.yaml", train="images/train", val="images/val", names=NAMES)
