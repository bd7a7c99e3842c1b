"""Students that start elsewhere: pre-trained on the other data sets, and another network.

    python benchmarks/proof/students.py [--data raccoon] [--rows pretrained pretrained+teacher]

``pretrained`` starts from a network that was trained on the other data sets of this folder
together, ``yolov5n`` from scratch. The methods are the defaults.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kit import RUNS, SETS, Cell, arguments, fill, main_teacher, train_run

from tutelage.data import DatasetIndex, open_dataset
from tutelage.files import atomic_write_text

PRETRAINING = ("--img", "224", "--epochs", "40")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for name in options.data:
        students = {"scratch": (), "yolov5n": ("--cfg", "yolov5n")}
        if not options.rows or any(row.startswith("pretrained") for row in options.rows):
            students["pretrained"] = ("--weights", str(pretrained(name, options.threads)))
        cells += [
            Cell(row + "+teacher" * bool(teacher), name, seed, given, teacher)
            for seed in range(options.seeds)
            for row, given in students.items()
            for teacher in ("", main_teacher(name))
        ]
    fill("students", cells, options)


def pretrained(data: str, threads: int) -> Path:
    """Return the weights of a student that was trained on all data sets but one."""
    folder = RUNS / f"all-but-{data}"
    others = {name: each.data for name, each in SETS.items() if name != data and each.present}
    cell = Cell("pretrained", data, 0, ("--data", str(together(others, folder)), *PRETRAINING))
    return train_run(f"pretrained-for-{data}", cell, threads) / "best.safetensors"


def together(sets: dict[str, str], folder: Path) -> Path:
    """Write one data set of several, in YOLO's format, and return its yaml.

    Args:
        sets: Their data yamls by name.
        folder: Where to write it; images are links.
    """
    names: list[str] = []
    for name, source in sets.items():
        indices = {split: open_dataset(source, split) for split in ("train", "val")}
        for split, index in indices.items():
            _link(index, folder, split, name, len(names))
        names += [f"{name} {label}" for label in indices["train"].names]
    text = f"train: {folder}/images/train\nval: {folder}/images/val\nnames: {names}\n"
    atomic_write_text(folder / "data.yaml", text)
    return folder / "data.yaml"


def _link(index: DatasetIndex, folder: Path, split: str, name: str, first_label: int) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    for each in (images, labels):
        each.mkdir(parents=True, exist_ok=True)
    for number in range(len(index)):
        file = index.path(number).resolve()
        link = images / f"{name}-{file.name}"
        if not link.exists():
            link.symlink_to(file)
        image, lines = index.item(number), []
        scale = np.tile(image.size_wh, 2)
        for label, corners in zip(image.label, image.xyxy, strict=True):
            x1, y1, x2, y2 = corners / scale
            box = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
            lines.append(f"{first_label + label} {' '.join(f'{value:.6f}' for value in box)}\n")
        atomic_write_text(labels / f"{name}-{file.stem}.txt", "".join(lines))


if __name__ == "__main__":
    main()
