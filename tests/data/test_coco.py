from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.annotation_files import make_coco, write_coco
from tests.data.write_dataset import write_image, write_yaml
from tutelage.data import Finding, open_dataset, open_splits
from tutelage.errors import DataError, MissingSplitError

ONE = {"a.png": [("dog", 8.0, 12.0, 40.0, 36.0)]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def findings(path: Path, split: str = "train") -> dict[str, Finding]:
    index = open_dataset(path, split, strict=False)  # type: ignore[arg-type]
    return {finding.code: finding for finding in index.findings}


def one_json(root: Path, **changes: Any) -> Path:
    write_image(root / "a.png")
    return write_coco(root / "train.json", ONE, **changes)


def annotation(**values: Any) -> dict[str, Any]:
    return {"image_id": 100, "category_id": 3, "bbox": [1, 2, 10, 10]} | values


def test_classes_are_numbered_by_ascending_category(tmp_path: Path) -> None:
    index = open_dataset(one_json(tmp_path), "train")
    assert index.names == ("cat", "dog")
    assert index.item(0).label.tolist() == [1]
    np.testing.assert_allclose(index.item(0).xyxy, [[8, 12, 40, 36]], atol=1e-4)
    assert index.findings == ()
    again = open_dataset(tmp_path / "train.json", "train")  # from the cache
    assert again.fingerprint == index.fingerprint


def test_roboflow_folder_and_its_jsons(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "set")
    train, val = open_splits(root, "train", "val")
    assert (len(train), len(val)) == (4, 4)
    assert train.path(0) == root / "train" / "0.png"
    assert val.path(0) == root / "valid" / "0.png"
    assert len(open_dataset(root / "train" / "_annotations.coco.json", "val")) == 4
    with pytest.raises(
        MissingSplitError,
        match=r"has no test split \(found: train, val; looked for "
        r"annotations/\*test\*\.json, test/_annotations",
    ):
        open_dataset(root, "test")


@pytest.mark.parametrize("images", ["train2017", "images/train2017", "images", "."])
def test_instances_in_annotations(tmp_path: Path, images: str) -> None:
    write_image(tmp_path / images / "a.png")
    write_coco(tmp_path / "annotations" / "instances_train2017.json", ONE)
    write_coco(tmp_path / "annotations" / "instances_val2017.json", ONE)
    for data in (tmp_path, tmp_path / "annotations" / "instances_val2017.json"):
        assert open_dataset(data, "train").path(0) == tmp_path / images / "a.png"


def test_named_by_a_data_yaml(tmp_path: Path) -> None:
    one_json(tmp_path)
    path = write_yaml(tmp_path / "d.yaml", train="train.json", val=["train.json"])
    assert open_dataset(path, "val").names == ("cat", "dog")
    path = write_yaml(tmp_path / "d.yaml", train="train.json", names=["dog", "cat"])
    assert open_dataset(path, "train").labels.tolist() == [0]
    path = write_yaml(tmp_path / "d.yaml", train="train.json", names=["cat", "dgo"])
    found = findings(path)["label-class"]
    assert found.message == (
        "Label class 'dog' in train.json annotations[0], but d.yaml names only cat, dgo."
    )
    path = write_yaml(tmp_path / "d.yaml", train=["train.json", "."], names=["cat"])
    with pytest.raises(DataError, match="train mixes COCO jsons with other sources"):
        open_dataset(path, "train")


def test_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    one_json(tmp_path)
    cow = [{"id": 3, "name": "cow"}]
    write_coco(tmp_path / "val.json", ONE, categories=cow, annotations=[annotation()])
    with pytest.raises(DataError, match="The classes of train and val differ: cat, dog and cow"):
        open_splits(tmp_path / "train.json", "train", "val")


@pytest.mark.parametrize(
    ("given", "code", "severity", "boxes"),
    [
        pytest.param(annotation(iscrowd=1), "label-ignored", "info", 0, id="crowd"),
        pytest.param(annotation(ignore=1), "label-ignored", "info", 0, id="ignored"),
        pytest.param(annotation(bbox=[1, 2, 0, 5]), "label-no-area", "warning", 0, id="no area"),
        pytest.param(annotation(bbox=[70, 2, 9, 9]), "label-range", "error", 0, id="outside"),
        pytest.param(annotation(bbox=[60, 2, 9, 9]), "box-clipped", "warning", 1, id="clipped"),
        pytest.param(annotation(bbox=[60, 2, 4.9, 9]), "", "", 1, id="under a pixel outside"),
        pytest.param(annotation(bbox=[1, 2, "x", 5]), "label-not-a-number", "error", 0, id="text"),
        pytest.param(annotation(bbox=[1, 2, 10**400, 5]), "label-not-a-number", "error", 0, id="∞"),
        pytest.param(annotation(bbox=[1, 2]), "label-malformed", "error", 0, id="short"),
        pytest.param(annotation(category_id=9), "label-class-number", "error", 0, id="category"),
        pytest.param(annotation(category_id=[1]), "label-class-number", "error", 0, id="list"),
        pytest.param(annotation(image_id=5), "label-orphan", "warning", 0, id="orphan"),
    ],
)
def test_faults(
    tmp_path: Path, given: dict[str, Any], code: str, severity: str, boxes: int
) -> None:
    path = one_json(tmp_path, annotations=[annotation(bbox=[20, 20, 8, 8]), given])
    index = open_dataset(path, "train", strict=False)
    assert len(index.boxes) == 1 + boxes
    assert [(f.code, f.severity) for f in index.findings] == ([(code, severity)] if code else [])
    assert all(
        f.count == 1 and "train.json annotations[1]" in f.examples[0] for f in index.findings
    )


def test_the_same_box_twice_and_another_size(tmp_path: Path) -> None:
    path = one_json(tmp_path, annotations=[annotation(), annotation()])
    write_image(tmp_path / "a.png", 48, 64)
    found = findings(path)
    assert list(found) == ["label-duplicate", "label-frame"]
    assert '"stated 64x48, shown 48x64"' in found["label-frame"].message
    assert "box_frame: shown" in found["label-frame"].fix


@pytest.mark.parametrize(
    "name", ["/etc/secret.png", "../secret.png", "x/../../secret.png", "..\\secret.png", "a\0.png"]
)
def test_file_names_that_lead_outside_are_not_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.data.formats import scan

    write_image(tmp_path / "secret.png")
    seen: list[str] = []
    original = scan.read_size
    monkeypatch.setattr(scan, "read_size", lambda path: seen.append(str(path)) or original(path))
    write_image(tmp_path / "set" / "a.png")
    path = write_coco(tmp_path / "set" / "train.json", ONE | {name: []})
    found = findings(path)["image-outside"]
    assert (found.severity, found.count) == ("error", 1)
    assert seen == [str(tmp_path / "set" / "a.png")]
    assert "\0" not in found.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [\n{]', r"train\.json is not valid json: .* \(train\.json:2:2\)"),
        ("[" * 100_000, r"not valid json.*\(train\.json"),
        ("[1]", "is not a COCO json: expected the keys images, annotations and categories"),
        ('{"images": 1, "categories": [{"id": 1, "name": "a"}]}', "images must be a list"),
        ('{"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}', "has no file_name"),
        ('{"images": [], "categories": []}', "there is no category"),
        ('{"images": [], "categories": [{"id": 1}]}', r"categories\[0\] needs a name and an id"),
        (
            '{"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}',
            "two categories are called 'a'",
        ),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}]}', "train: no images in"),
    ],
)
def test_not_a_coco_json(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(path, "train")
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not valid json"):
        open_dataset(path, "train")


def test_a_json_without_a_split_is_for_training(tmp_path: Path) -> None:
    path = one_json(tmp_path).rename(tmp_path / "labels.json")
    assert len(open_dataset(path, "train")) == 1
    with pytest.raises(MissingSplitError, match=r"train: …  val: …"):
        open_dataset(path, "val")


def test_an_image_that_is_listed_twice_or_missing(tmp_path: Path) -> None:
    path = one_json(tmp_path)
    document = json.loads(path.read_text())
    document["images"] += [document["images"][0] | {"id": 7}, {"id": 8, "file_name": "b.png"}]
    path.write_text(json.dumps(document))
    found = findings(path)
    assert list(found) == ["image-unusable", "image-repeated"]
    assert "b.png cannot be read: the file does not exist" in found["image-unusable"].message
