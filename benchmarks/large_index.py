"""What a data set of 200,000 images costs to open, in the main process and in each worker.

    python benchmarks/large_index.py [--images 200000] [--folder DIR]

The images are hard links to a few small ones, each with two boxes. Opened twice: the first reads
every header and label, the second takes them from the cache. Memory is what Linux counts as
private.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader

LINKS = 20_000  # per file: ext4 allows 65,000
MIB = 2**20


def make(folder: Path, images: int) -> Path:
    """Write the data set; return its yaml."""
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
        (folder / "first" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(images):
        if number % LINKS == 0:
            image = folder / "first" / "images" / f"{number}.jpg"
            label = folder / "first" / "labels" / f"{number}.txt"
            cv2.imwrite(str(image), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
            label.write_text("0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n")
        os.link(image, folder / "images" / "train" / f"{number:06}.jpg")
        os.link(label, folder / "labels" / "train" / f"{number:06}.txt")
    path = folder / "data.yaml"
    path.write_text(f"path: {folder}\ntrain: images/train\nval: images/train\nnames: [a, b]\n")
    return path


def private(pid: int) -> float:
    """Return the private memory of a process in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M)) / 1024


def main() -> None:
    """Open, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        data = make(Path(place), given.images)
        few = make(Path(place) / "few", 64)
        for what in ("first", "from the cache"):
            before, began = private(os.getpid()), time.perf_counter()
            [index] = open_splits(data, "train")
            print(
                f"opened {what}: {time.perf_counter() - began:.1f} s, "
                f"{private(os.getpid()) - before:+.0f} MiB"
            )
        [small] = open_splits(few, "train")
        sizes = []
        for each in (small, index):
            loader = training_loader(
                each,
                image_size=64,
                batch=16,
                augment=AugmentConfig(),
                seed=0,
                workers=2,
                cache=False,
                cache_gib=1,
            )
            batches = iter(loader)
            for _ in range(4):
                next(batches)
            workers = [worker.pid for worker in batches._workers]
            sizes.append(max(private(pid) for pid in workers))
            del batches, loader
        print(f"a worker: {sizes[1]:.0f} MiB private, {sizes[1] - sizes[0]:+.0f} MiB for the index")


if __name__ == "__main__":
    main()
