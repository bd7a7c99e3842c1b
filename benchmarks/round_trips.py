"""A small data set through the exporters of other tools, and how what they wrote is read.

    python benchmarks/round_trips.py write OUT   # where tools are installed
    python benchmarks/round_trips.py read OUT    # where this package is

The tools, of any of which there may be none: datumaro, globox, labelme2coco, label-studio-sdk,
pylabel, sahi, supervision. `write` may run in several environments with the same OUT. `read`
compares boxes (to half a pixel), classes by their names, and crowds with what went in, prints one
line per exporter and form, and ends with 1 if one differs in more than the tool itself loses.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from exporters import EXPORTERS, NAMES, SPLITS
from PIL import Image

SIZES = {"a1": (320, 240), "a2": (241, 327), "a3": (200, 200), "a4": (640, 360)}
Box = tuple[int, list[float], int]  # category, x y w h, iscrowd
BOXES: dict[str, list[Box]] = {
    "a1": [(2, [30, 40, 100, 60], 0), (90, [200.25, 10.5, 60.5, 99.25], 0), (7, [5, 5, 9, 11], 0)],
    "a2": [(7, [0, 0, 120, 80], 0), (7, [141, 227, 100, 100], 0), (2, [20, 150, 90, 70], 1)],
    "a3": [],
    "a4": [(90, [100, 100, 33.4, 33.6], 0), (2, [300, 20, 200, 300], 0)],
}
HALF_PIXEL = 0.51


def make_source(folder: Path) -> None:
    """Write the data set as COCO: `annotations/instances_<split>.json` and `images/<split>`."""
    generator = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    for start, split in enumerate(SPLITS):
        images, annotations = [], []
        (folder / "images" / split).mkdir(parents=True)
        for number, (stem, (width, height)) in enumerate(SIZES.items()):
            name, image_id = f"{split}_{stem}.jpg", 100 * start + 11 + 3 * number
            pixels = generator.integers(0, 255, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / name)
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
            for category, box, crowd in BOXES[stem]:
                _, _, w, h = box
                shape = {"size": [height, width], "counts": run_lengths(box, width, height)}
                annotations.append(
                    {
                        "id": 1000 * (start + 1) + len(annotations),
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box,
                        "area": w * h,
                        "iscrowd": crowd,
                        "segmentation": shape if crowd else [],
                    }
                )
        categories = [{"id": i, "name": n, "supercategory": ""} for i, n in NAMES.items()]
        document = {"images": images, "annotations": annotations, "categories": categories}
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(document))


def run_lengths(box: list[float], width: int, height: int) -> list[int]:
    """Return the uncompressed run lengths of a box, down the columns as in COCO."""
    x, y, w, h = map(int, box)
    mask = np.zeros((height, width), bool)
    mask[y : y + h, x : x + w] = True
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *edges.tolist(), len(flat)]).tolist()


def write(out: Path, only: str) -> None:
    """Write the data set, and what each exporter that is installed makes of it."""
    source = out / "source"
    if not source.exists():
        make_source(source)
    for name, (package, export) in EXPORTERS.items():
        folder = out / re.sub(r"\W+", "_", name)
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if only not in name:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        record: dict[str, Any] = {"name": name, "version": f"{package} {version}"}
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = export(source, folder)
            record |= {key: str(value) for key, value in result.items()}
        except Exception as error:  # in any way
            record["failed"] = f"{type(error).__name__}: {error}"
        Path(f"{folder}.record").write_text(json.dumps(record))
        print(f"{name} ({package} {version}): {record.get('failed', 'written')}")


def read(out: Path, only: str) -> int:
    """Open everything that was written and print what differs; return the number of those."""
    differing = 0
    for path in sorted(out.glob("*.record")):
        record = json.loads(path.read_text())
        if only not in record["name"]:
            continue
        problems = Counter(differences(record))
        differing += bool(problems)
        same = "refused, as it must be" if "refused" in record else "the same"
        told = "; ".join(problems) or same
        print(f"{record['name']} ({record['version']}): {told}")
    return differing


def differences(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between the data set and what is read of an export."""
    from tutelage.data import open_dataset
    from tutelage.errors import DataError

    if "failed" in record:
        yield f"not written: {record['failed']}"
        return
    for split in SPLITS:
        try:
            index = open_dataset(record[split], split, strict=False)
        except DataError as error:
            yield f"{split}: refused: {error}"
            continue
        errors = {each.code: each.message for each in index.findings if each.severity == "error"}
        if "refused" in record:
            if record["refused"] not in errors:
                yield f"{split}: is read although the classes are wrong"
            continue
        yield from (f"{split}: {code}: {message}" for code, message in errors.items())
        if len(index) != len(SIZES):
            yield f"{split}: {len(index)} images of {len(SIZES)}"
        unknown = set(index.names) - set(NAMES.values())
        if unknown:
            yield f"{split}: classes {', '.join(sorted(unknown))}"
        limit, fate = float(record.get("off", HALF_PIXEL)), record.get("crowds", "kept")
        for position, image in enumerate(index):
            stem = next((stem for stem in SIZES if f"_{stem}" in image.path.stem), "")
            boxes = [box for box in BOXES.get(stem, []) if fate == "objects" or not box[2]]
            place = f"{split} {stem}"
            yield from compare(place, boxes, image.xyxy, image.label, index.names, limit)
            crowds = [box for box in BOXES.get(stem, []) if fate == "kept" and box[2]]
            here = index.ignored.image == position
            xyxy, label = index.ignored.xyxy[here], index.ignored.label[here]
            yield from compare(f"{place} crowds", crowds, xyxy, label, index.names, limit)


def compare(
    place: str,
    boxes: list[Box],
    xyxy: np.ndarray,
    label: np.ndarray,
    names: tuple[str, ...],
    limit: float,
) -> Iterator[str]:
    """Yield how boxes differ from what went in, each compared with the nearest of its class."""
    expected = Counter(NAMES[category] for category, *_ in boxes)
    found = Counter(names[number] for number in label)
    if expected != found:
        yield f"{place}: {dict(found)} for {dict(expected)}"
    for category, (x, y, w, h), _ in boxes:
        same = [names[number] == NAMES[category] for number in label]
        if any(same):
            off = np.abs(xyxy[same] - np.array([x, y, x + w, y + h])).max(1).min()
            if off > limit:
                yield f"{place}: a box is {off:.2f} px off"


def main() -> int:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("write", "read"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="exporters whose name holds this")
    arguments = parser.parse_args()
    if arguments.step == "write":
        write(arguments.out.resolve(), arguments.only)
        return 0
    return int(read(arguments.out.resolve(), arguments.only) > 0)


if __name__ == "__main__":
    sys.exit(main())
