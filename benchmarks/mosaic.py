"""How fast is augmentation, and how much of its time is OpenCV's?

Makes synthetic images, keeps them decoded in RAM, and builds training samples on one core:

    python benchmarks/mosaic.py [--image-size 640] [--samples 300]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from tutelage.config.schema import AugmentConfig
from tutelage.data import DetectionDataset, open_dataset
from tutelage.data.image_cache import ImageCache
from tutelage.data.sampler import SampleKey

ARMS = {
    "mosaic of 4": {"mosaic9": 0.0},
    "mosaic of 9": {"mosaic9": 1.0},
    "YOLOv7 default (1 in 5 of 9)": {},
    "with rotation and shear": {"degrees": 10.0, "shear": 2.0},
    "with mixup": {"mixup": 1.0},
    "no mosaic": {"mosaic": 0.0},
}


def make_images(folder: Path, count: int, boxes: int) -> Path:
    """Write a data set of ``count`` photo-like images of 640 x 480 with ``boxes`` boxes each."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(count):
        small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        image = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), image)
        rows = np.column_stack([rng.integers(0, 3, boxes), rng.uniform(0.2, 0.8, (boxes, 2))])
        lines = [f"{int(label)} {x:.4f} {y:.4f} 0.1 0.15" for label, x, y in rows]
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    path.write_text("train: images\nnames: [a, b, c]\n")
    return path


def measure(dataset: DetectionDataset, samples: int) -> tuple[float, float]:
    """Return samples per second, and the share of the time spent inside OpenCV functions."""
    keys = [SampleKey(number, number % len(dataset)) for number in range(samples)]
    for key in keys[:10]:
        dataset[key]
    started = time.perf_counter()
    for key in keys:
        dataset[key]
    seconds = time.perf_counter() - started
    profile = cProfile.Profile()
    profile.enable()
    for key in keys:
        dataset[key]
    profile.disable()
    rows = pstats.Stats(profile).stats.items()  # pyright: ignore[reportAttributeAccessIssue]
    inside = sum(own for (_, _, name), (_, _, own, _, _) in rows if opencv(name))
    return samples / seconds, inside / sum(own for _, (_, _, own, _, _) in rows)


def opencv(name: str) -> bool:
    """Tell whether a profiler's name is that of a function of OpenCV, e.g. ``<cvtColor>``."""
    return name.startswith("<") and hasattr(cv2, name.strip("<>"))


def main() -> None:
    """Print a line per kind of augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--boxes", type=int, default=13, help="boxes per image")
    given = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        index = open_dataset(make_images(Path(folder), 64, given.boxes), "train")
        cache = ImageCache(index, image_size=given.image_size, gib=4)
    print(f"{given.image_size} px, one core, {given.boxes} boxes per image, images in RAM")
    print(f"{'':30}{'images/s':>10}{'ms/image':>10}{'in OpenCV':>11}")
    for name, keys in ARMS.items():
        dataset = DetectionDataset(
            index, image_size=given.image_size, config=AugmentConfig(**keys), cache=cache
        )
        rate, share = measure(dataset, given.samples)
        print(f"{name:30}{rate:10.0f}{1000 / rate:10.2f}{share:11.0%}")


if __name__ == "__main__":
    main()
