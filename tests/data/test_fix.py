"""The cleaned copy and the page: what they hold, what they leave alone, what they refuse."""

from __future__ import annotations

import base64
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
    assert fixed == (tmp_path / "out/clean/data.yaml", 5, 5, 2)
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
    ]


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
