"""A small data set through the exporters of other tools, and how what they wrote is read.

    python benchmarks/round_trips.py write OUT   # where tools are installed, this package need not be
    python benchmarks/round_trips.py read OUT    # where this package is installed

The tools, of any of which there may be none: datumaro, globox, imantics, labelme2coco,
label-studio-sdk, pylabel, sahi, supervision. `write` may run in several environments with the same
OUT. `read` compares boxes (to half a pixel), classes by their names, and crowds with what went in,
prints one line per exporter and form, and ends with 1 if one differs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = {2: "zebra", 7: "apple", 90: "traffic light"}  # neither from 0, nor without gaps, nor sorted
SIZES = {"a1": (320, 240), "a2": (241, 327), "a3": (200, 200), "a4": (640, 360)}
BOXES: dict[str, list[tuple[int, list[float], int]]] = {  # category, x y w h, iscrowd
    "a1": [(2, [30, 40, 100, 60], 0), (90, [200.25, 10.5, 60.5, 99.25], 0), (7, [5, 5, 9, 11], 0)],
    "a2": [(7, [0, 0, 120, 80], 0), (7, [141, 227, 100, 100], 0), (2, [20, 150, 90, 70], 1)],
    "a3": [],
    "a4": [(90, [100, 100, 33.4, 33.6], 0), (2, [300, 20, 200, 300], 0)],
}
SPLITS = ("train", "val")
HALF_PIXEL = 0.51
# What an exporter itself does not write, and what its rounding costs, in pixels.
NO_CROWDS = {"crowds": False}

Exporter = Callable[[Path, Path], Mapping[str, Any]]
EXPORTERS: dict[str, tuple[str, Exporter]] = {}


def exporter(name: str, package: str) -> Callable[[Exporter], Exporter]:
    """Register a function that writes the data set in SOURCE into a folder.

    It returns what is to be opened per split, and what of the data set the form cannot hold.
    """

    def register(write: Exporter) -> Exporter:
        EXPORTERS[name] = package, write
        return write

    return register


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
                x, y, w, h = box
                corners = [x, y, x + w, y, x + w, y + h, x, y + h]
                shape = {"size": [height, width], "counts": run_lengths(box, width, height)}
                annotations.append(
                    {
                        "id": 1000 * (start + 1) + len(annotations),
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box,
                        "area": w * h,
                        "iscrowd": crowd,
                        "segmentation": shape if crowd else [corners],
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


def source_json(source: Path, split: str) -> Path:
    """Return the COCO json of a split."""
    return source / "annotations" / f"instances_{split}.json"


def copy_images(source: Path, split: str, folder: Path) -> None:
    """Copy the images of a split."""
    shutil.copytree(source / "images" / split, folder, dirs_exist_ok=True)


def datumaro_form(form: str, **options: Any) -> Exporter:
    """Return an exporter of a form of datumaro."""

    def write(source: Path, out: Path) -> Mapping[str, Any]:
        from datumaro.components.dataset import Dataset

        with tempfile.TemporaryDirectory() as folder:  # its own layout: images/<split>
            shutil.copytree(source, folder, dirs_exist_ok=True)
            dataset = Dataset.import_from(folder, "coco")
            dataset.export(str(out), form, save_media=True, **options)
        data = out / "data.yaml" if form == "yolo_ultralytics" else out
        return {split: data for split in SPLITS}

    return write


for _form, _lost in {
    "coco": {},
    "coco_instances": {},
    "voc": NO_CROWDS,
    "voc_detection": NO_CROWDS,
    "yolo": NO_CROWDS,
    "yolo_ultralytics": NO_CROWDS,
}.items():

    def _write(
        source: Path, out: Path, form: str = _form, lost: Mapping[str, Any] = _lost
    ) -> Mapping[str, Any]:
        return {**datumaro_form(form)(source, out), **lost}

    exporter(f"datumaro {_form}", "datumaro")(_write)


def supervision_split(source: Path, split: str) -> Any:
    """Return a split as supervision's own reader takes it."""
    import supervision

    return supervision.DetectionDataset.from_coco(
        str(source / "images" / split), str(source_json(source, split))
    )


@exporter("supervision as_coco", "supervision")
def supervision_coco(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        json_path = out / split / "annotations.json"
        supervision_split(source, split).as_coco(str(out / split), str(json_path))
    return {split: out / split / "annotations.json" for split in SPLITS}


@exporter("supervision as_pascal_voc", "supervision")
def supervision_voc(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        folder = str(out / split)
        supervision_split(source, split).as_pascal_voc(folder, folder)
    return {**dict.fromkeys(SPLITS, out), **NO_CROWDS}


@exporter("supervision as_yolo", "supervision")
def supervision_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        images, labels = out / split / "images", out / split / "labels"
        yaml = str(out / f"{split}.yaml")
        supervision_split(source, split).as_yolo(str(images), str(labels), yaml)
    text = (out / "train.yaml").read_text()
    (out / "data.yaml").write_text(f"{text}\ntrain: train/images\nval: val/images\n")
    return {**dict.fromkeys(SPLITS, out / "data.yaml"), **NO_CROWDS}


@exporter("supervision as_labelme, labelme2coco", "labelme2coco")
def supervision_labelme(source: Path, out: Path) -> Mapping[str, Any]:
    import labelme2coco

    for split in SPLITS:
        copy_images(source, split, out / split)
        write_labelme(source, split, out / split)
        labelme2coco.convert(str(out / split), str(out / f"{split}_json"))
        shutil.copy(out / f"{split}_json" / "dataset.json", out / f"{split}.json")
    return {**{split: out / f"{split}.json" for split in SPLITS}, **NO_CROWDS}


def write_labelme(source: Path, split: str, folder: Path) -> None:
    """Write labelme's json beside each image: rectangles by two corners."""
    document = json.loads(source_json(source, split).read_text())
    for image in document["images"]:
        shapes = []
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, w, h = annotation["bbox"]
                shapes.append(
                    {
                        "label": NAMES[annotation["category_id"]],
                        "points": [[x, y], [x + w, y + h]],
                        "group_id": None,
                        "shape_type": "rectangle",
                        "flags": {},
                    }
                )
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": image["file_name"],
            "imageData": None,
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        (folder / image["file_name"]).with_suffix(".json").write_text(json.dumps(content))


def sahi_split(source: Path, split: str) -> Any:
    """Return a split as sahi's own reader takes it."""
    from sahi.utils.coco import Coco

    return Coco.from_coco_dict_or_path(
        str(source_json(source, split)), image_dir=str(source / "images" / split)
    )


@exporter("sahi Coco.json", "sahi")
def sahi_coco(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        (out / f"{split}.json").write_text(json.dumps(sahi_split(source, split).json))
    return {split: out / f"{split}.json" for split in SPLITS}


@exporter("sahi export_coco_as_yolo", "sahi")
def sahi_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    from sahi.utils.coco import export_coco_as_yolo

    train, val = (sahi_split(source, split) for split in SPLITS)
    export_coco_as_yolo(str(out), train, val)
    return {**dict.fromkeys(SPLITS, out / "data.yml"), **NO_CROWDS}


@exporter("sahi slice_coco", "sahi")
def sahi_slices(source: Path, out: Path) -> Mapping[str, Any]:
    from sahi.slicing import slice_coco

    for split in SPLITS:
        slice_coco(
            str(source_json(source, split)),
            str(source / "images" / split),
            output_coco_annotation_file_name=split,
            output_dir=str(out / split),
            slice_height=1000,
            slice_width=1000,
        )
        shutil.move(out / split / f"{split}_coco.json", out / f"{split}.json")
    return {split: out / f"{split}.json" for split in SPLITS}


def globox_set(source: Path, split: str) -> Any:
    """Return a split as globox's own reader takes it."""
    from globox import AnnotationSet

    return AnnotationSet.from_coco(source_json(source, split))


@exporter("globox save_coco", "globox")
def globox_coco(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        globox_set(source, split).save_coco(out / f"{split}.json", auto_ids=True)
    return {**{split: out / f"{split}.json" for split in SPLITS}, **NO_CROWDS}


@exporter("globox save_pascal_voc", "globox")
def globox_voc(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        globox_set(source, split).save_pascal_voc(out / split)
    return {**dict.fromkeys(SPLITS, out), **NO_CROWDS}


@exporter("globox save_yolo_v5", "globox")
def globox_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    order = {name: number for number, name in enumerate(NAMES.values())}
    for split in SPLITS:
        copy_images(source, split, out / "images" / split)
        (out / "labels").mkdir(exist_ok=True)
        annotations = globox_set(source, split)
        annotations.save_yolo_v5(out / "labels" / split, label_to_id=order)
    names = ", ".join(NAMES.values())
    yaml = f"train: images/train\nval: images/val\nnames: [{names}]\n"
    (out / "data.yaml").write_text(yaml)
    return {**dict.fromkeys(SPLITS, out / "data.yaml"), **NO_CROWDS}


def pylabel_set(source: Path, split: str) -> Any:
    """Return a split as pylabel's own reader takes it."""
    from pylabel import importer

    images = source / "images" / split
    return importer.ImportCoco(str(source_json(source, split)), path_to_images=str(images))


@exporter("pylabel ExportToCoco", "pylabel")
def pylabel_coco(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        pylabel_set(source, split).export.ExportToCoco(str(out / f"{split}.json"))
    return {**{split: out / f"{split}.json" for split in SPLITS}, **NO_CROWDS}


@exporter("pylabel ExportToVoc", "pylabel")
def pylabel_voc(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        pylabel_set(source, split).export.ExportToVoc(str(out / split))
    return {**dict.fromkeys(SPLITS, out), **NO_CROWDS}


@exporter("pylabel ExportToYoloV5", "pylabel")
def pylabel_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / "images" / split)
        (out / "labels").mkdir(exist_ok=True)
        dataset = pylabel_set(source, split)
        labels, yaml = out / "labels" / split, f"{split}.yaml"
        dataset.export.ExportToYoloV5(str(labels), yaml_file=yaml)
    text = (out / "labels" / "train.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("path:", "train:", "val:"))]
    (out / "data.yaml").write_text("\n".join([*kept, "train: images/train", "val: images/val"]))
    return {**dict.fromkeys(SPLITS, out / "data.yaml"), **NO_CROWDS}


def imantics_set(source: Path, split: str) -> Any:
    """Return a split as imantics' own reader takes it."""
    import imantics

    dataset = imantics.Dataset.from_coco(json.loads(source_json(source, split).read_text()))
    return dataset


@exporter("imantics coco", "imantics")
def imantics_coco(source: Path, out: Path) -> Mapping[str, Any]:
    for split in SPLITS:
        copy_images(source, split, out / split)
        document = imantics_set(source, split).coco()
        (out / f"{split}.json").write_text(json.dumps(document, default=float))
    return {**{split: out / f"{split}.json" for split in SPLITS}, **NO_CROWDS}


def label_studio_tasks(source: Path, split: str, images: Path) -> list[dict[str, Any]]:
    """Return a split as Label Studio exports it (JSON): rectangles in per cent of the image."""
    document = json.loads(source_json(source, split).read_text())
    tasks = []
    for image in document["images"]:
        results = []
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, w, h = annotation["bbox"]
                value = {
                    "x": 100 * x / image["width"],
                    "y": 100 * y / image["height"],
                    "width": 100 * w / image["width"],
                    "height": 100 * h / image["height"],
                    "rotation": 0,
                    "rectanglelabels": [NAMES[annotation["category_id"]]],
                }
                results.append(
                    {
                        "id": f"r{annotation['id']}",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": image["width"],
                        "original_height": image["height"],
                        "image_rotation": 0,
                        "value": value,
                    }
                )
        annotations = [{"id": image["id"], "completed_by": 1, "result": results}]
        address = str(images / image["file_name"])
        tasks.append(
            {"id": image["id"], "data": {"image": address}, "annotations": annotations}
        )
    return tasks


def label_studio(form: str) -> Exporter:
    """Return an exporter of a form of Label Studio's converter."""

    def write(source: Path, out: Path) -> Mapping[str, Any]:
        from label_studio_sdk.converter import Converter

        labels = "".join(f'<Label value="{name}"/>' for name in NAMES.values())
        config = '<View><Image name="image" value="$image"/>'
        config += f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>'
        for split in SPLITS:
            tasks = out / f"{split}_tasks.json"
            images = source / "images" / split
            tasks.write_text(json.dumps(label_studio_tasks(source, split, images)))
            converter = Converter(config, str(images), download_resources=True)
            getattr(converter, f"convert_to_{form}")(str(tasks), str(out / split), is_dir=False)
        if form == "coco":
            return {**{split: out / split / "result.json" for split in SPLITS}, **NO_CROWDS}
        if form == "voc":
            return {**dict.fromkeys(SPLITS, out), **NO_CROWDS}
        names = (out / "train" / "classes.txt").read_text().splitlines()
        text = f"train: train/images\nval: val/images\nnames: {json.dumps(names)}\n"
        (out / "data.yaml").write_text(text)
        return {**dict.fromkeys(SPLITS, out / "data.yaml"), **NO_CROWDS}

    return write


for _form in ("coco", "voc", "yolo"):
    exporter(f"label-studio {_form}", "label-studio-sdk")(label_studio(_form))


def write(out: Path, only: str) -> None:
    """Write the data set, and what each exporter that is installed makes of it."""
    source = out / "source"
    if not source.exists():
        make_source(source)
    for name, (package, export) in EXPORTERS.items():
        folder = out / name.replace(" ", "_").replace(",", "")
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
            record |= {k: v if isinstance(v, bool) else str(v) for k, v in result.items()}
        except Exception as error:  # noqa: BLE001  (an exporter may fail in any way)
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
        told = "; ".join(problems) or "the same"
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
        for finding in index.findings:
            if finding.severity == "error":
                yield f"{split}: {finding.code}: {finding.message}"
        found = {image.path.stem.rpartition("_")[2]: image for image in index}
        if len(index) != len(SIZES):
            yield f"{split}: {len(index)} images of {len(SIZES)}"
        crowds = sum(f.count for f in index.findings if f.code == "label-ignored")
        expected = sum(crowd for boxes in BOXES.values() for *_, crowd in boxes)
        if record.get("crowds", True) and crowds != expected:
            yield f"{split}: {crowds} crowds of {expected}"
        unused = set(index.names) - set(NAMES.values())
        if unused:
            yield f"{split}: classes {', '.join(sorted(unused))}"
        for stem, boxes in BOXES.items():
            if stem in found:
                kept = [box for box in boxes if not box[2] or not record.get("crowds", True)]
                yield from compare(f"{split} {stem}", kept, found[stem], index.names)


def compare(
    place: str, boxes: list[tuple[int, list[float], int]], image: Any, names: tuple[str, ...]
) -> Iterator[str]:
    """Yield how the boxes of an image differ, each compared with the nearest of its class."""
    expected = Counter(NAMES[category] for category, *_ in boxes)
    found = Counter(names[label] for label in image.label)
    if expected != found:
        yield f"{place}: {dict(found)} for {dict(expected)}"
    for category, (x, y, w, h), _ in boxes:
        corners = np.array([x, y, x + w, y + h])
        same = [names[label] == NAMES[category] for label in image.label]
        if any(same):
            off = np.abs(image.xyxy[same] - corners).max(1).min()
            if off > HALF_PIXEL:
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
