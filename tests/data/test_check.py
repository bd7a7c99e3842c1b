"""Each finding of an examination, on data made to have it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.annotation_files import make_coco, make_voc, write_coco
from tests.data.damaged_datasets import CASES, label, unequal
from tests.data.write_dataset import (
    NAMES,
    OTHER,
    make_sound,
    write_image,
    write_yaml,
)
from tutelage.data.check import examine
from tutelage.data.check.boxes import check_similar_names
from tutelage.data.findings import Finding
from tutelage.errors import DataError
from tutelage.setup.unlabelled import HELD_OUT


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def found(data: Path, **options: int) -> dict[tuple[str, str], Finding]:
    return {(split, one.code): one for split, one in examine(data, **options).findings}


@pytest.mark.parametrize("make", [make_sound, make_coco, make_voc])
def test_no_findings(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    seen: list[tuple[str, int, int]] = []
    report = examine(make(tmp_path / "set"), progress=lambda *values: seen.append(values))
    assert report.findings == ()
    assert report.errors == 0
    assert [opened.listing.split for opened in report.splits] == ["train", "val"]
    total = len(report.splits[0].listing.images)
    assert seen == [("train", total, total), ("val", total, total)]


@pytest.mark.parametrize(("damage", "split", "code", "severity", "example"), CASES)
def test_each_finding(
    tmp_path: Path, damage: Callable, split: str, code: str, severity: str, example: str
) -> None:
    data = make_sound(tmp_path)
    damage(tmp_path, tmp_path / "images/train/a.jpg")
    finding = found(data, image_size=64)[split, code]
    assert (finding.severity, finding.count >= 1) == (severity, True)
    assert example in finding.examples[0]
    assert example in finding.message


def test_unequal_classes(tmp_path: Path) -> None:
    data = make_sound(tmp_path)
    unequal(tmp_path, tmp_path)
    finding = found(data)["train", "class-imbalance"]
    assert finding.severity == "info"
    assert finding.message == "cat has 20 times the boxes of dog (20 and 1)."


def test_a_longer_side_decides_what_is_tiny(tmp_path: Path) -> None:
    data = make_sound(tmp_path)
    label("0 .5 .5 .02 .5\n" + OTHER)(tmp_path, tmp_path)
    assert ("train", "box-tiny") not in found(data, image_size=128)


def test_names_of_splits_that_differ(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "set")
    path = root / "valid" / "_annotations.coco.json"
    path.write_text(path.read_text().replace('"dog"', '"wolf"'))
    finding = found(root)["", "names-differ"]
    assert finding.severity == "error"
    assert finding.examples == ("train: cat, dog", "val: cat, wolf")


@pytest.mark.parametrize(
    "names",
    [
        ["RBC", "rbc"],
        ["red cell", "Red_Cell"],
        ["Zelle-1", "zelle 1"],
        ["caf\u00e9", "cafe\u0301"],
    ],
)
def test_names_that_look_the_same(tmp_path: Path, names: list[str]) -> None:
    data = make_sound(tmp_path)
    write_yaml(data, train="images/train", val="images/val", names=names)
    finding = found(data)["", "names-similar"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert f"{names[0]!r} and {names[1]!r}" in finding.message


def test_numbers_and_words_are_no_similar_names() -> None:
    assert not list(check_similar_names(["1", "11", "cat", "cats", "type 1", "type 2"]))


def test_a_class_without_a_box_in_a_json_is_left_out_by_a_data_yaml(tmp_path: Path) -> None:
    boxes = {f"{i}.png": [("cat", 2 + i, 2, 30, 30)] for i in range(4)}
    for number, split in enumerate(("train", "valid")):
        for i, name in enumerate(boxes):
            write_image(tmp_path / split / name, seed=10 * number + i)
        write_coco(tmp_path / split / "_annotations.coco.json", boxes)
    finding = found(tmp_path)["train", "class-empty"]
    assert finding.fix.endswith("train with a data yaml that names the others:  names: [cat]")
    train, val = (f"{folder}/_annotations.coco.json" for folder in ("train", "valid"))
    followed = write_yaml(tmp_path / "data.yaml", train=train, val=val, names=["cat"])
    assert ("train", "class-empty") not in found(followed)


def test_empty_and_flat_images_are_no_duplicates(tmp_path: Path) -> None:
    data = make_sound(tmp_path)
    for split, stem in (("train", "a"), ("val", "c")):
        (tmp_path / "images" / split / f"{stem}.jpg").write_bytes(b"")
    for number, (split, stem) in enumerate((("train", "b"), ("val", "d"))):
        grey = np.full((48, 64, 3), 60 + 9 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / split / f"{stem}.jpg"), grey)
    assert not [code for _, code in found(data) if "leak" in code]


def test_other_images_differ_in_more_bits_than_near(tmp_path: Path) -> None:
    from tutelage.data.check.duplicates import NEAR, _near
    from tutelage.data.check.image_stats import read_image_stats

    images = [str(write_image(tmp_path / f"{n}.png", seed=n)) for n in range(30)]
    seen = read_image_stats(images, lambda _: None).hashes
    bits = np.bitwise_count(seen[:, None] ^ seen[None]).sum(axis=2)
    assert bits[~np.eye(30, dtype=bool)].min() > 2 * NEAR
    rng = np.random.default_rng(0)
    many = rng.integers(0, 2**64, (200, 2), np.uint64)
    many[100:] = many[:100]  # then bits of these are flipped
    for row in range(100, 200):
        for bit in rng.choice(128, row % 12, replace=False):
            many[row, bit // 64] ^= np.uint64(1 << (int(bit) % 64))
    bits = np.bitwise_count(many[:, None] ^ many[None]).sum(axis=2)
    expected = np.argwhere(np.triu(bits <= NEAR, 1)).tolist()
    assert _near(many, np.arange(200)).tolist() == expected
    assert len(expected) > 50


def test_a_camera_that_stands_still_takes_no_square_of_time() -> None:
    """All share most bands: each is compared with the next few of its kind."""
    from tutelage.data.check.duplicates import COMPARED, _near

    rng = np.random.default_rng(0)
    hashes = np.zeros((3_000, 2), np.uint64)
    hashes[:, 1] = rng.permutation(2**20)[:3_000]
    pairs = _near(hashes, np.arange(3_000))
    assert 3_000 < len(pairs) < 9 * COMPARED * 3_000
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_pictures_of_few_edges_are_no_duplicates(tmp_path: Path) -> None:
    """Their difference hashes are equal, since most of both is of one grey."""
    data = make_sound(tmp_path)
    for stem, left, low in (("a", 200, 90), ("b", 120, 250)):
        grey = np.zeros((72, 72, 3), np.uint8)
        grey[16:24, 16:24], grey[56:64, 56:64] = left, low
        cv2.imwrite(str(tmp_path / f"images/train/{stem}.jpg"), grey)
    assert ("", "image-duplicate-near") not in found(data)


def test_one_split_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    make_sound(tmp_path)
    keys = {"train": "images/train", "val": "images/vol", "names": NAMES}
    finding = found(write_yaml(tmp_path / "data.yaml", **keys))["val", "split-unusable"]
    assert finding.severity == "error"
    assert "images/vol does not exist" in finding.message
    assert finding.fix == "Nearest: images/val"
    with pytest.raises(DataError, match="images/vol does not exist"):
        examine(tmp_path / "data.yaml", ["val"])


def test_voc_files_without_an_image(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "set")
    shutil.copy(root / "VOC2007/Annotations/val0.xml", root / "VOC2007/Annotations/lost.xml")
    assert found(root)["", "label-orphan"].examples == ("VOC2007/Annotations/lost.xml",)


def test_the_docs_name_every_code() -> None:
    root = Path(__file__).parents[2]
    table = re.findall(r"^\| `([a-z-]+)` \| \w+ \|", (root / "docs/data.md").read_text(), re.M)
    source = "".join(p.read_text() for p in (root / "src/tutelage/data").rglob("*.py"))
    kinds = "image|labels?|box|split|class|names|link|list|path|voc"
    codes = set(re.findall(rf'"((?:{kinds})-[a-z-]+)(?:{{suffix}})?"', source))
    codes |= {f"{code}-near" for code in ("image-duplicate", "split-leak")}
    codes |= HELD_OUT.keys()  # found by a run
    assert len(table) == len(set(table))
    assert set(table) == codes


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    data = make_sound(tmp_path)
    (tmp_path / "images/train/a.jpg").chmod(0)
    assert ("train", "image-unusable") in found(data)
