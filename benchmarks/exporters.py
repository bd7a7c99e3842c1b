"""The exporters of other tools that `round_trips.py` tries; each writes a small data set.

What a tool itself loses is written beside its exporter: crowds that it makes objects or leaves out,
parts of a pixel, names that it gives to wrong classes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# ids neither from 0, nor without gaps; names not sorted
NAMES = {2: "zebra", 7: "apple", 90: "traffic light"}
SPLITS = ("train", "val")
# What becomes of crowds, if they do not stay crowds.
AS_OBJECTS, LEFT_OUT = {"crowds": "objects"}, {"crowds": "left out"}
# Coordinates are cut off to whole pixels, or taken from the outline of a mask.
A_PIXEL = {"off": "1.01"}
# Class numbers that do not fit the names: to be refused, with this finding.
WRONG_CLASSES = {"refused": "label-class"}

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


def source_json(source: Path, split: str) -> Path:
    """Return the COCO json of a split."""
    return source / "annotations" / f"instances_{split}.json"


def copy_images(source: Path, split: str, folder: Path) -> None:
    """Copy the images of a split."""
    shutil.copytree(source / "images" / split, folder, dirs_exist_ok=True)


def datumaro_form(form: str, lost: Mapping[str, str]) -> None:
    """Register a form of datumaro."""

    @exporter(f"datumaro {form}", "datumaro")
    def write(source: Path, out: Path) -> Mapping[str, Any]:
        from datumaro.components.dataset import Dataset

        dataset = Dataset.import_from(str(source), "coco")
        dataset.export(str(out), form, save_media=True)
        data = out / "data.yaml" if form.startswith("yolo") else out
        if form == "yolo":  # Darknet's: obj.names and lists, no yaml
            names = (out / "obj.names").read_text().split("\n")
            write_yaml(data, [name for name in names if name], "train.txt", "val.txt")
        return {**dict.fromkeys(SPLITS, data), **lost}


datumaro_form("coco_instances", {})
datumaro_form("voc", AS_OBJECTS)
datumaro_form("voc_detection", AS_OBJECTS)
datumaro_form("yolo", LEFT_OUT)
datumaro_form("yolo_ultralytics", LEFT_OUT)


def write_yaml(path: Path, names: Iterable[str], train: str, val: str) -> None:
    """Write a data yaml, where the tool writes none of use."""
    path.write_text(f"train: {train}\nval: {val}\nnames: {json.dumps(list(names))}\n")


def supervision_split(source: Path, split: str) -> Any:
    """Return a split as supervision's own reader takes it."""
    import supervision

    return supervision.DetectionDataset.from_coco(
        str(source / "images" / split), str(source_json(source, split))
    )


@exporter("supervision as_coco", "supervision")
def supervision_coco(source: Path, out: Path) -> Mapping[str, Any]:
    """COCO, boxes and crowds."""
    for split in SPLITS:
        json_path = out / split / "annotations.json"
        supervision_split(source, split).as_coco(str(out / split), str(json_path))
    return {split: out / split / "annotations.json" for split in SPLITS}


@exporter("supervision as_pascal_voc", "supervision")
def supervision_voc(source: Path, out: Path) -> Mapping[str, Any]:
    """VOC."""
    for split in SPLITS:
        folder = str(out / split)
        supervision_split(source, split).as_pascal_voc(folder, folder)
    return {**dict.fromkeys(SPLITS, out), **AS_OBJECTS}


@exporter("supervision as_yolo", "supervision")
def supervision_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    """YOLO; a data yaml of names only."""
    for split in SPLITS:
        images, labels = out / split / "images", out / split / "labels"
        yaml = str(out / f"{split}.yaml")
        supervision_split(source, split).as_yolo(str(images), str(labels), yaml)
    text = (out / "train.yaml").read_text()
    (out / "data.yaml").write_text(f"{text}\ntrain: train/images\nval: val/images\n")
    return {**dict.fromkeys(SPLITS, out / "data.yaml"), **AS_OBJECTS, **A_PIXEL}


@exporter("labelme2coco", "labelme2coco")
def labelme(source: Path, out: Path) -> Mapping[str, Any]:
    """Labelme's rectangles, as COCO."""
    import labelme2coco

    for split in SPLITS:
        copy_images(source, split, out / split)
        write_labelme(source, split, out / split)
        labelme2coco.convert(str(out / split), str(out / f"{split}_json"))
        shutil.copy(out / f"{split}_json" / "dataset.json", out / f"{split}.json")
    return {**{split: out / f"{split}.json" for split in SPLITS}, **AS_OBJECTS}


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
    """COCO."""
    for split in SPLITS:
        copy_images(source, split, out / split)
        (out / f"{split}.json").write_text(json.dumps(sahi_split(source, split).json))
    return {**{split: out / f"{split}.json" for split in SPLITS}, **AS_OBJECTS}


@exporter("sahi export_coco_as_yolo", "sahi")
def sahi_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    """YOLO, with the ids of the json as class numbers."""
    from sahi.utils.coco import export_coco_as_yolo

    train, val = (sahi_split(source, split) for split in SPLITS)
    export_coco_as_yolo(str(out), train, val)
    return {**dict.fromkeys(SPLITS, out / "data.yml"), **WRONG_CLASSES}


@exporter("sahi export_coco_as_yolo, ids from 0", "sahi")
def sahi_yolo_from_zero(source: Path, out: Path) -> Mapping[str, Any]:
    """YOLO, after the ids were numbered from 0."""
    from sahi.utils.coco import export_coco_as_yolo

    train, val = (sahi_split(source, split) for split in SPLITS)
    for part in (train, val):
        part.update_categories({name: number for number, name in enumerate(NAMES.values())})
    export_coco_as_yolo(str(out), train, val)
    return {**dict.fromkeys(SPLITS, out / "data.yml"), **AS_OBJECTS}


@exporter("sahi slice_coco", "sahi")
def sahi_slices(source: Path, out: Path) -> Mapping[str, Any]:
    """COCO of slices, here as large as the images."""
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
    return {**{split: out / split / f"{split}_coco.json" for split in SPLITS}, **AS_OBJECTS}


def globox_set(source: Path, split: str) -> Any:
    """Return a split as globox's own reader takes it."""
    from globox import AnnotationSet

    return AnnotationSet.from_coco(source_json(source, split))


@exporter("globox save_coco", "globox")
def globox_coco(source: Path, out: Path) -> Mapping[str, Any]:
    """COCO."""
    for split in SPLITS:
        copy_images(source, split, out / split)
        globox_set(source, split).save_coco(out / f"{split}.json", auto_ids=True)
    return {**{split: out / f"{split}.json" for split in SPLITS}, **AS_OBJECTS}


@exporter("globox save_pascal_voc", "globox")
def globox_voc(source: Path, out: Path) -> Mapping[str, Any]:
    """VOC."""
    for split in SPLITS:
        copy_images(source, split, out / split)
        globox_set(source, split).save_pascal_voc(out / split)
    return {**dict.fromkeys(SPLITS, out), **AS_OBJECTS}


@exporter("globox save_yolo_v5", "globox")
def globox_yolo(source: Path, out: Path) -> Mapping[str, Any]:
    """YOLO labels without a yaml."""
    order = {name: number for number, name in enumerate(NAMES.values())}
    for split in SPLITS:
        copy_images(source, split, out / "images" / split)
        (out / "labels").mkdir(exist_ok=True)
        annotations = globox_set(source, split)
        annotations.save_yolo_v5(out / "labels" / split, label_to_id=order)
    write_yaml(out / "data.yaml", NAMES.values(), "images/train", "images/val")
    return {**dict.fromkeys(SPLITS, out / "data.yaml"), **AS_OBJECTS}


def pylabel_set(source: Path, split: str) -> Any:
    """Return a split as pylabel's own reader takes it."""
    from pylabel import importer

    images = source / "images" / split
    return importer.ImportCoco(str(source_json(source, split)), path_to_images=str(images))


@exporter("pylabel ExportToCoco", "pylabel")
def pylabel_coco(source: Path, out: Path) -> Mapping[str, Any]:
    """COCO."""
    for split in SPLITS:
        copy_images(source, split, out / split)
        pylabel_set(source, split).export.ExportToCoco(str(out / f"{split}.json"))
    return {split: out / f"{split}.json" for split in SPLITS}


@exporter("pylabel ExportToVoc", "pylabel")
def pylabel_voc(source: Path, out: Path) -> Mapping[str, Any]:
    """VOC."""
    for split in SPLITS:
        copy_images(source, split, out / split)
        pylabel_set(source, split).export.ExportToVoc(str(out / split))
    return {**dict.fromkeys(SPLITS, out), **AS_OBJECTS, **A_PIXEL}


def pylabel_yolo(first_class: int | None) -> Exporter:
    """Return pylabel's exporter of YOLO: class numbers from `first_class`, or the json's ids."""

    def write(source: Path, out: Path) -> Mapping[str, Any]:
        for split in SPLITS:
            copy_images(source, split, out / "images" / split)
            (out / "labels").mkdir(exist_ok=True)
            pylabel_set(source, split).export.ExportToYoloV5(
                str(out / "labels" / split), yaml_file=f"{split}.yaml", cat_id_index=first_class
            )
        names = (out / "labels" / "train.yaml").read_text().split("nc:")[0]  # names: - zebra ...
        (out / "data.yaml").write_text(f"{names}\ntrain: images/train\nval: images/val\n")
        lost = WRONG_CLASSES if first_class is None else AS_OBJECTS
        return {**dict.fromkeys(SPLITS, out / "data.yaml"), **lost}

    return write


exporter("pylabel ExportToYoloV5", "pylabel")(pylabel_yolo(None))
exporter("pylabel ExportToYoloV5 cat_id_index=0", "pylabel")(pylabel_yolo(0))


def label_studio_tasks(source: Path, split: str) -> list[dict[str, Any]]:
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
        address = f"/data/upload/1/{image['file_name']}"
        tasks.append({"id": image["id"], "data": {"image": address}, "annotations": annotations})
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
            tasks.write_text(json.dumps(label_studio_tasks(source, split)))
            copy_images(source, split, out / "upload" / "1")
            upload = str(out / "upload")
            converter = Converter(config, upload, upload_dir=upload, download_resources=True)
            getattr(converter, f"convert_to_{form}")(str(tasks), str(out / split), is_dir=False)
        if form == "coco":
            return {**{split: out / split / "result.json" for split in SPLITS}, **AS_OBJECTS}
        names: Iterable[str] = NAMES.values()
        if form == "yolo":
            names = (out / "train" / "classes.txt").read_text().splitlines()
        write_yaml(out / "data.yaml", names, "train/images", "val/images")
        lost = {**AS_OBJECTS, **(A_PIXEL if form == "voc" else {})}
        return {**dict.fromkeys(SPLITS, out / "data.yaml"), **lost}

    return write


for _form in ("coco", "voc", "yolo"):
    exporter(f"label-studio {_form}", "label-studio-sdk")(label_studio(_form))
