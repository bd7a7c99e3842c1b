"""Splits of COCO and VOC folders, called and placed as other tools do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.annotation_files import voc_text, write_coco
from tests.data.write_dataset import write_image, write_text, write_yaml
from tutelage.data import open_dataset, open_splits
from tutelage.errors import DataError, MissingSplitError

BOX = [("dog", 8.0, 12.0, 40.0, 36.0)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def write_json(path: Path, image: str, root: Path) -> Path:
    """Write a COCO json of one image, which lies in ``root``."""
    write_image(root / image)
    return write_coco(path, {image: BOX})


def images(data: Path) -> list[list[str]]:
    """The images of train and val."""
    return [[item.path.name for item in index] for index in open_splits(data, "train", "val")]


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations/instances_Train.json", "annotations/instances_Validation.json"),
        ("annotations/train.json", "annotations/valid.json"),
        (
            "annotations/person_keypoints_train2017.json",
            "annotations/person_keypoints_val2017.json",
        ),
        ("Annotations/train_annotations.json", "Annotations/dev_annotations.json"),
        ("Train/_annotations.coco.json", "Valid/_annotations.coco.json"),
        ("train/labels.json", "validation/labels.json"),
        ("train/train.json", "val/val.json"),
        ("lvis_v1_train.json", "lvis_v1_val.json"),
    ],
)
def test_coco(tmp_path: Path, train: str, val: str) -> None:
    write_json(tmp_path / train, "a.png", tmp_path)
    write_json(tmp_path / val, "b.png", tmp_path)
    for data in (tmp_path, tmp_path / train, tmp_path / val):
        assert images(data) == [["a.png"], ["b.png"]]


def test_instances_come_before_other_jsons_of_coco(tmp_path: Path) -> None:
    folder = tmp_path / "annotations"
    write_json(folder / "instances_train2017.json", "a.png", tmp_path)
    write_json(folder / "person_keypoints_train2017.json", "b.png", tmp_path)
    write_text(folder / "captions_train2017.json", "{}")
    assert [item.path.name for item in open_dataset(tmp_path, "train")] == ["a.png"]
    write_json(folder / "instances_train2014.json", "b.png", tmp_path)
    with pytest.raises(DataError, match=r"2 jsons for train: instances_train2014\.json, inst"):
        open_dataset(tmp_path, "train")


@pytest.mark.parametrize("place", ["annotations/instances_default.json", "labels.json"])
def test_one_json_is_for_training(tmp_path: Path, place: str) -> None:
    write_json(tmp_path / place, "a.png", tmp_path)
    write_text(tmp_path / "train" / "settings.json", '{"lr": 1}')
    assert len(open_dataset(tmp_path, "train")) == 1
    with pytest.raises(MissingSplitError, match="has no val split"):
        open_dataset(tmp_path, "val")


def write_voc(root: Path, sets: dict[str, str]) -> Path:
    for stem in "ab":
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        write_text(root / "Annotations" / f"{stem}.xml", voc_text(BOX))
    for name, text in sets.items():
        write_text(root / "ImageSets" / "Main" / f"{name}.txt", text)
    return root


def test_image_sets(tmp_path: Path) -> None:
    sets = {"Train": "a\n", "Validation": "b\n", "dog_train": "b 1\n"}
    assert images(write_voc(tmp_path, sets)) == [["a.jpg"], ["b.jpg"]]


@pytest.mark.parametrize("name", ["default", "trainval"])
def test_an_image_set_of_all(tmp_path: Path, name: str) -> None:
    root = write_voc(tmp_path, {name: "a\n"})
    assert [item.path.name for item in open_dataset(root, "train")] == ["a.jpg"]
    with pytest.raises(MissingSplitError, match=r"ImageSets/Main/val\.txt, val/\*\.xml"):
        open_dataset(root, "val")


@pytest.mark.parametrize(
    ("pictures", "xml"),
    [("{}", "{}"), ("images/{}", "annotations/{}"), ("JPEGImages/{}", "Annotations/{}")],
)
def test_voc_folders(tmp_path: Path, pictures: str, xml: str) -> None:
    for split, stem in (("Training", "a"), ("Valid", "b")):
        write_image(tmp_path / pictures.format(split) / f"{stem}.jpg")
        write_text(tmp_path / xml.format(split) / f"{stem}.xml", voc_text(BOX))
    assert images(tmp_path) == [["a.jpg"], ["b.jpg"]]


def test_nothing_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither COCO nor Pascal VOC") as caught:
        open_dataset(tmp_path, "train")
    assert "annotations/*<split>*.json" in caught.value.fix
    assert "ImageSets/Main/<split>.txt" in caught.value.fix
    yaml = write_yaml(tmp_path / "d.yaml", train="x")
    with pytest.raises(DataError, match="is a folder, not a data yaml") as caught:
        open_dataset(tmp_path, "train")
    assert caught.value.fix == f"Use  --data {yaml}"
