"""Small COCO and Pascal VOC data sets on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.write_dataset import NAMES, write_image, write_text

Box = tuple[str, float, float, float, float]  # class name and corners in pixels


def write_coco(path: Path, images: dict[str, list[Box]], /, **changes: Any) -> Path:
    """Write a json of images of 64 x 48; the ids of the categories are 7 and 3."""
    ids = {"cat": 3, "dog": 7}
    entries = [
        {"id": 100 + n, "file_name": name, "width": 64, "height": 48}
        for n, name in enumerate(images)
    ]
    annotations = [
        {"id": 1, "image_id": 100 + n, "category_id": ids[name], "bbox": [x, y, x2 - x, y2 - y]}
        for n, boxes in enumerate(images.values())
        for name, x, y, x2, y2 in boxes
    ]
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    document = {"images": entries, "annotations": annotations, "categories": categories}
    return write_text(path, json.dumps(document | changes))


def voc_text(boxes: list[Box], extra: str = "", size: str = "64 48") -> str:
    """Return an XML file; corners in pixels counted from 0 become VOC's."""
    width, height = size.split()
    objects = "".join(
        f"<object><name>{name}</name><part><name>ear</name><bndbox><xmin>1</xmin></bndbox></part>\n"
        f"<bndbox><xmax>{x2}</xmax><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<ymax>{y2}</ymax></bndbox></object>\n"
        for name, x, y, x2, y2 in boxes
    )
    return (
        "<annotation>\n<filename>/etc/passwd</filename>\n"
        f"<size><width>{width}</width><height>{height}</height></size>\n{objects}{extra}</annotation>"
    )


def some_boxes(seed: int) -> list[Box]:
    """Return one or two boxes."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(2, 24, (1 + seed % 2, 2)).tolist()
    return [(NAMES[(seed + n) % 2], x, y, x + 24, y + 18) for n, (x, y) in enumerate(corners)]


def make_coco(root: Path, count: int = 4) -> Path:
    """Write a data set in Roboflow's layout: train and valid."""
    for number, split in enumerate(("train", "valid")):
        images = {f"{i}.png": some_boxes(i) for i in range(count)}
        for i, name in enumerate(images):
            write_image(root / split / name, seed=100 * number + i)
        write_coco(root / split / "_annotations.coco.json", images)
    return root


def make_voc(root: Path, count: int = 4) -> Path:
    """Write a data set in the layout of VOCdevkit: train and val."""
    home = root / "VOC2007"
    for number, split in enumerate(("train", "val")):
        stems = [f"{split}{i}" for i in range(count)]
        for i, stem in enumerate(stems):
            write_image(home / "JPEGImages" / f"{stem}.jpg", seed=100 * number + i)
            write_text(home / "Annotations" / f"{stem}.xml", voc_text(some_boxes(i)))
        write_text(home / "ImageSets" / "Main" / f"{split}.txt", "\n".join(stems) + "\n")
    return root
