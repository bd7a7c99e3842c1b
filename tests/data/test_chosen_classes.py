"""Training on some classes of a data set, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.annotation_files import voc_text, write_coco
from tests.data.write_dataset import write_image, write_text, write_yaml
from tutelage.data import open_dataset, open_splits
from tutelage.data.check import examine
from tutelage.data.check.fix import write_fixed
from tutelage.data.opening import open_split
from tutelage.errors import ConfigError

NAMES = ("ant", "bee", "cat")
FORMATS = ("yolo", "coco", "voc")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def make_data(root: Path, form: str, names: tuple[str, ...] = NAMES) -> Path:
    """Two splits of two images: one with the boxes 0, 1, 2, 1, one with class 1 alone."""
    labels = {"a": (0, 1, 2, 1), "b": (1,)}
    for number, split in enumerate(("train", "val")):
        entries, annotations = [], []
        for i, (stem, classes) in enumerate(labels.items()):
            folder = root / "images" / split
            write_image(folder / f"{stem}.jpg", seed=2 * number + i)
            boxes = [
                (NAMES[c], 4.0 + 9 * k, 6.0, 12.0 + 9 * k, 18.0) for k, c in enumerate(classes)
            ]
            if form == "yolo":
                rows = [
                    f"{c} {(x + x2) / 128} {(y + y2) / 96} {(x2 - x) / 64} {(y2 - y) / 48}"
                    for c, (_, x, y, x2, y2) in zip(classes, boxes, strict=True)
                ]
                write_text(root / "labels" / split / f"{stem}.txt", "\n".join(rows))
            elif form == "voc":
                write_text(root / "annotations" / split / f"{stem}.xml", voc_text(boxes))
            entries.append({"id": i, "file_name": f"{stem}.jpg", "width": 64, "height": 48})
            annotations += [
                {"image_id": i, "category_id": 5 + c, "bbox": [x, y, x2 - x, y2 - y]}
                for c, (_, x, y, x2, y2) in zip(classes, boxes, strict=True)
            ]
        if form == "coco":
            categories = [{"id": 5 + c, "name": name} for c, name in enumerate(NAMES)]
            write_coco(
                root / "images" / split / "labels.json",
                {},
                images=entries,
                annotations=annotations,
                categories=categories,
            )
    place = "images/{}/labels.json" if form == "coco" else "images/{}"
    splits = {split: place.format(split) for split in ("train", "val")}
    return write_yaml(root / "data.yaml", **splits, names=[*names])


@pytest.mark.parametrize("form", FORMATS)
def test_some_classes_in_the_given_order(tmp_path: Path, form: str) -> None:
    data = make_data(tmp_path, form)
    whole = open_dataset(data, "train")
    assert (whole.names, whole.labels.tolist()) == (NAMES, [0, 1, 2, 1, 1])
    for index in open_splits(data, "train", "val", classes=("cat", "ant")):
        assert index.names == ("cat", "ant")
        assert index.labels.tolist() == [1, 0]
        assert index.counts.tolist() == [2, 0]
        np.testing.assert_allclose(index.item(0).xyxy, whole.item(0).xyxy[[0, 2]])
        (finding,) = index.findings
        assert (finding.code, finding.severity, finding.count) == ("class-left-out", "info", 3)
        assert f"3 of 5 objects of {index.split}" in finding.message
        assert finding.message.endswith(": bee 3.")
        assert finding.examples[2] == f"bee in images/{index.split}/b.jpg"


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_names_of_a_yaml_that_are_some_of_the_categories(tmp_path: Path, form: str) -> None:
    data = make_data(tmp_path / "a", form, ("cat", "ant"))
    index = open_dataset(data, "train")
    chosen = open_dataset(make_data(tmp_path / "b", form), "train", classes=("cat", "ant"))
    assert index.fingerprint == chosen.fingerprint
    assert [finding.code for finding in index.findings] == ["class-left-out"]
    report = examine(data, image_size=64)
    assert report.errors == 0
    assert {f.code for _, f in report.findings} == {"class-left-out", "image-background"}
    fixed = write_fixed(report, tmp_path / "fixed")
    again = open_dataset(fixed.yaml, "train")
    assert (again.names, again.labels.tolist()) == (("cat", "ant"), [1, 0])


@pytest.mark.parametrize("form", FORMATS)
def test_with_a_single_class(tmp_path: Path, form: str) -> None:
    data = make_data(tmp_path, form)
    index = open_dataset(data, "train", single_class=True, classes=("cat", "ant"))
    assert (index.names, index.labels.tolist()) == (("item",), [0, 0])
    assert open_dataset(data, "train", single_class=True, classes=("bee",)).names == ("bee",)
    if form != "yolo":
        data = make_data(tmp_path, form, ("cat", "ant"))
        assert len(open_dataset(data, "train", single_class=True).labels) == 2


def test_the_boxes_of_the_scan_that_are_kept(tmp_path: Path) -> None:
    opened = open_split(make_data(tmp_path, "yolo"), "train", classes=("bee",))
    assert opened.kept.tolist() == [False, True, False, True, True]
    assert opened.listing.names == ("bee",)


@pytest.mark.parametrize("form", FORMATS)
def test_all_classes_leave_nothing_out(tmp_path: Path, form: str) -> None:
    index = open_dataset(make_data(tmp_path, form), "train", classes=("bee", "cat", "ant"))
    assert (index.labels.tolist(), index.findings) == ([2, 0, 1, 0, 0], ())


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ant", "be"], "data.yaml has no class 'be' Did you mean 'bee'.* It has: ant, bee, cat"),
        (["ant", "ant"], "'ant' stands twice"),
    ],
)
def test_classes_that_do_not_exist(tmp_path: Path, classes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_dataset(make_data(tmp_path, "yolo"), "train", classes=classes)
    assert all(part in str(caught.value) for part in message.split(".* "))


def test_a_json_keeps_categories_of_several_files(tmp_path: Path) -> None:
    """Names choose among the categories of all jsons of a split."""
    data = make_data(tmp_path, "coco", ("bee", "dog"))
    more = tmp_path / "images" / "more.json"
    image = {"id": 1, "file_name": "val/a.jpg", "width": 64, "height": 48}
    dog = [{"image_id": 1, "category_id": 1, "bbox": [3, 3, 9, 9]}]
    write_text(
        more,
        json.dumps(
            {"images": [image], "annotations": dog, "categories": [{"id": 1, "name": "dog"}]}
        ),
    )
    train = ["images/train/labels.json", "images/more.json"]
    data = write_yaml(tmp_path / "data.yaml", train=train, names=["bee", "dog"])
    index = open_dataset(data, "train")
    assert (index.names, index.class_counts.tolist()) == (("bee", "dog"), [3, 1])
