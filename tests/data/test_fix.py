"""The cleaned copy and the page: what they hold, what they leave alone, what they refuse."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.annotation_files import make_coco, make_voc, write_coco
from tests.data.write_dataset import (
    GOOD,
    NAMES,
    OTHER,
    make_dataset,
    make_sound,
    write_image,
    write_text,
    write_yaml,
)
from tutelage.data import open_dataset, open_splits
from tutelage.data.check import examine
from tutelage.data.check.fix import write_fixed
from tutelage.data.check.html_report import atlas
from tutelage.data.check.label_encoding import plain_text
from tutelage.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.suffix != ".npz"
        if path.is_file()
    }  # fmt: skip


def test_labels_are_cleaned_and_originals_stay(tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_dataset(
        root,
        {
            "a": GOOD + GOOD + "0 .5 .5 0 0\n9 .5 .5 .1 .1\nx\n",
            "b": "1,.5,.5,.25,.25",
            "c": "",
            "d": None,
            "cut": GOOD,
        },
    )
    (root / "labels/train/c.txt").write_bytes("1 0,5 0,5 0,25 0,25\r\n".encode("utf-16"))
    (root / "images/train/cut.jpg").write_bytes(b"")
    write_image(root / "images/val/v.jpg", seed=70)
    shutil.copy(root / "images/train/d.jpg", root / "images/val/w.jpg")
    write_text(root / "labels/val/v.txt", GOOD + OTHER)
    path = write_yaml(root / "data.yaml", train="images/train", val="images/val", names=NAMES)
    before = contents(root)
    report = examine(path)
    assert report.errors
    fixed = write_fixed(report, tmp_path / "out" / "clean")
    assert contents(root) == before
    assert fixed == (tmp_path / "out/clean/data.yaml", 5, 5, 2, 3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clean"]

    again = examine(fixed.yaml)
    assert not again.errors
    train, val = open_splits(fixed.yaml, "train", "val")
    assert [item.path.name for item in train] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [item.label.tolist() for item in train] == [[0], [1], [1]]
    np.testing.assert_allclose(train.item(2).xyxy, [[24, 18, 40, 30]], atol=1e-3)
    assert len(val) == 2
    assert (fixed.yaml.parent / "images/train/a.jpg").is_symlink()
    left_out = (fixed.yaml.parent / "left-out.txt").read_text().splitlines()
    assert [re.sub(r".*/", "", line) for line in left_out] == [
        "cut.jpg\tcannot be read: the file is empty",
        "d.jpg\tthe same file is there a second time",
        "a.txt:3\tthe box has no area",
        "a.txt:4\tits class has no name",
        "a.txt:5\texpected 'class x y w h', or a polygon 'class x1 y1 x2 y2 x3 y3 …'",
    ]


LOST = {
    "a number of columns": "0 .5 .5",
    "no class": "9 .5 .5 .1 .1",
    "no area": "0 .5 .5 0 .2",
    "pixels": "0 50 50 9 9",
    "an angle": "0 .5 .5 .2 .2 -31.5",
    "outside": "0 1.2 .2 1.4 .2 1.3 .5",
}


@pytest.mark.parametrize("line", LOST.values(), ids=LOST)
def test_no_image_becomes_background(tmp_path: Path, line: str) -> None:
    data = make_dataset(tmp_path / "set", {"a": f"{line}\n{line}", "b": f"{line}\n{GOOD}", "c": ""})
    fixed = write_fixed(examine(data, ["train"]), tmp_path / "clean")
    assert fixed[1:] == (2, 1, 1, 1)
    index = open_dataset(fixed.yaml, "train")
    assert [(item.path.name, len(item.label)) for item in index] == [("b.jpg", 1), ("c.jpg", 0)]
    image, label = (fixed.yaml.parent / "left-out.txt").read_text().splitlines()
    assert re.search(
        r"/images/train/a\.jpg\tno label can be saved: labels/train/a\.txt:1 \S", image
    )
    assert re.match(r"labels/train/b\.txt:1\t\S", label)


def test_a_label_file_that_cannot_be_read_makes_no_background(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "set", {"a": GOOD, "b": GOOD})
    (tmp_path / "set/labels/train/a.txt").unlink()
    (tmp_path / "set/labels/train/a.txt").mkdir()
    fixed = write_fixed(examine(data, ["train"]), tmp_path / "clean")
    assert fixed[1:] == (1, 1, 1, 0)
    left_out = (fixed.yaml.parent / "left-out.txt").read_text()
    assert "no label can be saved: labels/train/a.txt cannot be read: Is a directory" in left_out


def test_objects_of_other_formats_make_no_background(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(3):
        write_image(root / f"train/{number}.png", 64, 48, seed=number)
    boxes = {"0.png": [("cat", 8, 8, 40, 30)], "1.png": [("cat", 90, 8, 99, 30)], "2.png": []}
    boxes["0.png"].append(("dog", 8, 8, 8, 30))
    write_coco(root / "train/_annotations.coco.json", boxes)
    fixed = write_fixed(examine(root), tmp_path / "clean")
    assert fixed[1:] == (2, 1, 1, 1)
    index = open_dataset(fixed.yaml, "train")
    assert [(item.path.name, len(item.label)) for item in index] == [("0.png", 1), ("2.png", 0)]


@pytest.mark.parametrize(
    ("label", "boxes"),
    [
        pytest.param(f"{GOOD.strip()} 0.87\n{OTHER.strip()} 1\n", 2, id="scores"),
        pytest.param(f"{GOOD.strip()} 3\n{OTHER.strip()} 1\n", 2, id="tracks"),
        pytest.param(f"{GOOD.strip()} 0.87 3\n{OTHER.strip()} 0.5 1\n", 2, id="scores and tracks"),
        pytest.param(GOOD.strip().replace(" ", ",") + ",0.87", 1, id="with commas"),
        pytest.param("0 .375 .25 .625 .25 .625 .75 .375 .75 .87", 1, id="score of a polygon"),
    ],
)
def test_columns_are_dropped_and_objects_stay(tmp_path: Path, label: str, boxes: int) -> None:
    data = make_dataset(tmp_path / "set", {"a": label, "b": GOOD})
    fixed = write_fixed(examine(data, ["train"]), tmp_path / "clean")
    assert fixed[1:] == (2, boxes + 1, 0, 0)
    text = (fixed.yaml.parent / "labels/train/a.txt").read_text()
    good, other = (
        "0 0.500000 0.500000 0.250000 0.500000\n",
        "1 0.400000 0.400000 0.250000 0.250000\n",
    )
    assert text == good + other * (boxes - 1)
    assert not examine(fixed.yaml).errors


def test_half_a_point_is_no_score(tmp_path: Path) -> None:
    """A file that was cut off: the polygons above have no scores."""
    polygon = "0 .375 .25 .625 .25 .625 .75 .375 .75\n"
    data = make_dataset(tmp_path / "set", {"a": f"{polygon}0 .1 .1 .4 .1 .4 .6 .1", "b": GOOD})
    fixed = write_fixed(examine(data, ["train"]), tmp_path / "clean")
    assert fixed[1:] == (2, 2, 0, 1)


def test_a_copy_of_key_points_has_boxes_alone(tmp_path: Path) -> None:
    lines = f"{GOOD.strip()} .5 .5 2 .4 .4 1\n{OTHER.strip()} .4 .4 2 0 0 0 .87\n"
    make_dataset(tmp_path / "set", {"a": lines, "b": GOOD})
    keys = {"train": "images/train", "names": NAMES, "kpt_shape": [2, 3]}
    fixed = write_fixed(examine(write_yaml(tmp_path / "set/d.yaml", **keys)), tmp_path / "clean")
    assert fixed[1:] == (2, 3, 0, 0)
    assert "kpt_shape" not in fixed.yaml.read_text()
    text = (fixed.yaml.parent / "labels/train/a.txt").read_text()
    assert text == "0 0.500000 0.500000 0.250000 0.500000\n1 0.400000 0.400000 0.250000 0.250000\n"


@pytest.mark.parametrize("make", [make_coco, make_voc])
def test_other_formats_become_yolo(tmp_path: Path, make, monkeypatch) -> None:
    data = make(tmp_path / "set")
    fixed = write_fixed(examine(data), tmp_path / "clean")
    for split in ("train", "val"):
        old, new = open_dataset(data, split), open_dataset(fixed.yaml, split)
        assert new.names == old.names == ("cat", "dog")
        assert len(new) == len(old) == 4
        np.testing.assert_allclose(new.boxes, old.boxes, atol=1e-3)
        assert new.labels.tolist() == old.labels.tolist()
    assert examine(fixed.yaml).findings == ()


def test_where_links_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: str) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    fixed = write_fixed(examine(make_sound(tmp_path / "set")), tmp_path / "clean")
    image = fixed.yaml.parent / "images/train/a.jpg"
    assert not image.is_symlink()
    assert image.read_bytes() == (tmp_path / "set/images/train/a.jpg").read_bytes()


def test_an_images_folder_deeper_inside(tmp_path: Path) -> None:
    write_image(tmp_path / "set/x/images/a.png")
    write_text(tmp_path / "set/x/labels/a.txt", GOOD)
    write_image(tmp_path / "set/y/images/a.png", seed=9)
    path = write_yaml(tmp_path / "set/d.yaml", train=".", names=["a"])
    fixed = write_fixed(examine(path), tmp_path / "clean")
    index = open_dataset(fixed.yaml, "train")
    assert index.counts.tolist() == [1, 0]


@pytest.mark.parametrize(
    "where", ["set", "set/new", "set/images/train/new", "full", "file", "link"]
)
def test_refused_folders(tmp_path: Path, where: str) -> None:
    data = make_sound(tmp_path / "set")
    write_text(tmp_path / "full" / "x", "x")
    write_text(tmp_path / "file", "x")
    (tmp_path / "link").symlink_to(tmp_path / "set" / "images")
    before = contents(tmp_path)
    report = examine(data)
    with pytest.raises(ConfigError, match=r"is not an empty folder|lies inside the data set"):
        write_fixed(report, tmp_path / where)
    assert contents(tmp_path) == before


def test_nothing_is_left_of_a_copy_that_failed(tmp_path: Path, monkeypatch) -> None:
    report = examine(make_sound(tmp_path / "set"))
    (tmp_path / "clean").mkdir()

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="disk full"):
        write_fixed(report, tmp_path / "clean")
    assert (
        sorted(p.name for p in tmp_path.iterdir())
        == ["cache", "clean", "set"][0 if (tmp_path / "cache").exists() else 1 :]
    )
    assert not list((tmp_path / "clean").iterdir())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"0 .5 .5 .1 .1", "0 .5 .5 .1 .1"),
        (b"0,.5,.5,.1,.1", "0 .5 .5 .1 .1"),
        (b"0;.5; .5;.1;.1", "0 .5  .5 .1 .1"),
        (b"0 0,5 0,5 0,1 0,1", "0 0.5 0.5 0.1 0.1"),
        ("0 1 1\r\n".encode("utf-16-be"), None),
        (b"\xfe\xff" + "0 1 1\r\n".encode("utf-16-be"), "0 1 1"),
        (b"\xef\xbb\xbf0 1", "0 1"),
    ],
)
def test_plain_text(content: bytes, text: str | None) -> None:
    assert text is None or plain_text(content) == text


EVIL = '<script>alert(1)</script>"'


def test_the_page_escapes_and_loads_nothing(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_image(root / "train" / '<b onclick="x">.png')
    categories = [{"id": 3, "name": EVIL}, {"id": 7, "name": "dog"}]
    write_coco(
        root / "train" / "_annotations.coco.json",
        {'<b onclick="x">.png': [("cat", 8, 8, 40, 30), ("dog", 2, 2, 9, 9)]},
        categories=categories,
    )
    page = atlas(examine(root))
    assert "<script" not in page
    assert "<b onclick" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)', page) == []
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_page_shows_each_class_with_its_boxes(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "set", 3)
    (root / "train" / "0.png").unlink()
    page = atlas(examine(root), image_size=128)
    assert re.findall(r"<h3>(\w+) <small>in (\d) images", page) == [("cat", "5"), ("dog", "2")]
    assert page.count("<svg") == 3
    assert "√area of a box in px at 128 px" in page
    sizes = [len(data) for data in re.findall(r'base64,([^"]+)"', page)]
    assert len(sizes) == 7
    assert max(sizes) < 30_000
    data = base64.b64decode(re.findall(r'base64,([^"]+)"', page)[0])
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    assert drawn.shape == (168, 224, 3)
    assert (np.abs(drawn - (230, 30, 60)).sum(axis=2) < 120).sum() > 40  # the frame


def test_an_image_that_vanishes_before_the_page_is_made(tmp_path: Path) -> None:
    report = examine(make_sound(tmp_path / "set"))
    for path in (tmp_path / "set/images").rglob("*.jpg"):
        path.unlink()
    assert "<img" not in atlas(report)


def test_crowds_and_boxes_of_unknown_place_are_told_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "set" / f"{name}.png", seed=ord(name))
    boxes = [("cat", 4.0, 4.0, 40.0, 36.0)]
    path = write_coco(tmp_path / "set" / "train.json", {f"{n}.png": boxes for n in "abc"})
    document = json.loads(path.read_text())
    document["annotations"].append(document["annotations"][0] | {"iscrowd": 1})
    document["annotations"][1]["iscrowd"] = 1
    document["images"][2] |= {"width": 48, "height": 64}
    path.write_text(json.dumps(document))
    copy = write_fixed(examine(path, ("train",)), tmp_path / "copy")
    assert (copy.images, copy.boxes, copy.left_out, copy.lost) == (1, 1, 2, 1)
    left_out = (tmp_path / "copy/left-out.txt").read_text()
    told = [line.split("\t")[1] for line in left_out.splitlines()]
    assert told[:2] == [
        "no label can be saved: train.json annotations[1] it is neither trained on nor evaluated",
        "no label can be saved: train.json annotations[2] the label file means another image size, "
        "so its boxes lie elsewhere on this image",
    ]
    assert told[2:] == ["it is neither trained on nor evaluated"]
