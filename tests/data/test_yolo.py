from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.data.write_dataset import make_dataset, picture, write_image, write_text, write_yaml
from tutelage.data import Finding, open_dataset, open_splits
from tutelage.data.array_cache import cache_root
from tutelage.data.image import read_image, read_size
from tutelage.errors import DataError

GOOD = "0 0.5 0.5 0.25 0.5\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def findings(path: Path, **keys: bool) -> dict[str, Finding]:
    index = open_dataset(path, "train", strict=False, **keys)
    return {finding.code: finding for finding in index.findings}


def test_boxes_in_pixels(tmp_path: Path) -> None:
    path = make_dataset(
        tmp_path, {"a": GOOD + "1 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6", "b": None, "c": ""}
    )
    index = open_dataset(path, "train")
    assert len(index) == 3
    assert index.names == ("cat", "dog")
    assert index.root == tmp_path
    assert index.source == str(path)
    assert index.item(0).path == tmp_path / "images/train/a.jpg"
    assert index.item(0).size_wh == (64, 48)
    assert index.item(0).label.tolist() == [0, 1]
    np.testing.assert_allclose(
        index.item(0).xyxy, [[24, 12, 40, 36], [6.4, 4.8, 32, 28.8]], rtol=1e-6
    )
    assert index.counts.tolist() == [2, 0, 0]
    assert [finding.code for finding in index.findings] == ["labels-missing"]
    assert index.findings[0].severity == "warning"
    assert "1 of 3 training images have no label file and count as background" in (
        index.findings[0].message
    )


def test_labels_beside_images_without_an_images_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "a.b.jpg")
    write_text(tmp_path / "set" / "a.b.txt", GOOD)
    path = write_yaml(tmp_path / "d.yaml", train="set", names=["x"])
    assert open_dataset(path, "train").class_counts.tolist() == [1]


def test_last_images_folder_decides(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "p" / "images" / "a.jpg")
    write_text(tmp_path / "images" / "p" / "labels" / "a.txt", GOOD)
    path = write_yaml(tmp_path / "d.yaml", train="images", names=["x"])
    assert open_dataset(path, "train").class_counts.tolist() == [1]


def test_no_labels_at_all(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": None, "b": None})
    write_text(tmp_path / "annotations" / "a.xml", "<annotation/>")
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    message = str(caught.value)
    assert message.startswith("0 of 2 training images have a label file. Expected e.g. ")
    assert f"{tmp_path}/labels/train/a.txt beside {tmp_path}/images/train/a.jpg." in message
    assert "There are 1 .xml files in " in message
    assert "Pascal VOC" in message
    assert caught.value.exit_code == 3


def test_label_files_without_a_box(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": "", "b": ""})
    with pytest.raises(DataError, match="2 label files of the training images hold no box at all"):
        open_dataset(path, "train")


def test_line_faults_are_collected(tmp_path: Path) -> None:
    path = make_dataset(
        tmp_path,
        {
            "a": GOOD + "0 312 205 96 88\n0 1 2\n" + GOOD,
            "b": "0 312 205 96 88\n1 .5 .5 .1 .1\n0 .5 .5 0 0",
            "c": "x .5 .5 .1 .1\n-1 .5 .5 .1 .1\n0 1.5 .5 .1 .1",
        },
    )
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    message = str(caught.value)
    assert (
        '2 label lines cannot be used, e.g. labels/train/a.txt:2 "0 312 205 96 88": '
        "coordinates must lie in 0…1 and these look like pixels." in message
    )
    assert '1 label line cannot be used, e.g. labels/train/a.txt:3 "0 1 2": expected' in message
    assert 'labels/train/c.txt:1 "x .5 .5 .1 .1": every value must be a number' in message
    assert 'labels/train/c.txt:2 "-1 .5 .5 .1 .1": the class must be a whole number' in message
    assert 'labels/train/c.txt:3 "0 1.5 .5 .1 .1": coordinates must lie in 0…1.' in message
    assert message.count("Mend or remove these lines; see all") == 1

    found = findings(path)
    assert found["label-duplicate"].severity == found["label-no-area"].severity == "warning"
    assert found["label-duplicate"].examples == (f'labels/train/a.txt:4 "{GOOD.strip()}"',)
    assert found["label-pixels"].count == 2
    assert found["label-pixels"].examples[1] == 'labels/train/b.txt:1 "0 312 205 96 88"'
    assert open_dataset(path, "train", strict=False).counts.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (" 0.87", "the last column is a score"),
        (" 12", "the last column is a number such as a track id"),
        (" 0.87 12", "the last two columns are a score and a track id"),
    ],
)
def test_columns_after_the_box(tmp_path: Path, end: str, what: str) -> None:
    path = make_dataset(tmp_path, {"a": GOOD.strip() + end, "b": GOOD})
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    assert str(caught.value) == (
        f'1 label line cannot be used, e.g. labels/train/a.txt:1 "{GOOD.strip()}{end}": {what}. '
        f"Drop the last columns, the objects stay:  tutelage check {path} --fix cleaned"
    )
    assert findings(path)["label-column"].severity == "error"


def test_columns_of_unlike_meaning_are_not_dropped(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD.strip() + " 0.87", "b": GOOD.strip() + " -31.5"})
    found = findings(path)
    assert found["label-malformed"].message.endswith("and no score or track id at the end.")
    assert "Mend or remove these lines" in found["label-column"].fix


def test_boxes_over_the_edge_are_clipped(tmp_path: Path) -> None:
    path = make_dataset(
        tmp_path, {"a": "0 .1 .5 .4 .5\n", "b": "0 .1 .5 .2 .5\n1 .9 .5 1.2 .7 .9 .9"}
    )
    index = open_dataset(path, "train")
    np.testing.assert_allclose(index.item(0).xyxy, [[0, 12, 19.2, 36]], rtol=1e-6)
    np.testing.assert_allclose(index.item(1).xyxy[1], [57.6, 24, 64, 43.2], rtol=1e-6)
    (finding,) = index.findings
    assert (finding.code, finding.severity, finding.count) == ("box-clipped", "warning", 2)
    assert finding.message.startswith("2 label lines found, e.g. labels/train/a.txt:1 ")
    assert finding.fix == ""


def test_duplicates_only_warn(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD + GOOD})
    index = open_dataset(path, "train")
    assert len(index.boxes) == 1
    assert [finding.code for finding in index.findings] == ["label-duplicate"]


def test_class_out_of_range(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD, "b": GOOD + "2 .5 .5 .1 .1", "c": "5 .5 .5 .1 .1"})
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    assert str(caught.value) == (
        "Label class 2 in labels/train/b.txt:2 (and 1 more file), "
        "but data.yaml names 2 classes (0…1). "
        f"Mend these labels, or name their classes in data.yaml; see all, or leave them out:  "
        f"tutelage check {path} --fix cleaned"
    )
    assert open_dataset(path, "train", strict=False).labels.tolist() == [0, 0]


def test_single_class(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD, "b": "7 .5 .5 .1 .1"})
    index = open_dataset(path, "train", single_class=True)
    assert index.names == ("item",)
    assert index.labels.tolist() == [0, 0]


def corrupt_empty(path: Path) -> None:
    path.write_bytes(b"")


def corrupt_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def corrupt_text(path: Path) -> None:
    path.write_text("<html>404</html>")


def corrupt_tiny(path: Path) -> None:
    write_image(path, 9, 40)


def corrupt_gone(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere.jpg"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (corrupt_empty, "the file is empty"),
        (corrupt_cut, "truncated"),
        (corrupt_text, "cannot identify image file"),
        (corrupt_tiny, "9x40 is under 10 pixels"),
        (corrupt_gone, "the file does not exist"),
    ],
)
def test_unusable_images_are_left_out(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    path = make_dataset(tmp_path, {"a": GOOD, "b": "1 .5 .5 .1 .1"})
    damage(tmp_path / "images" / "train" / "a.jpg")
    index = open_dataset(path, "train")
    assert [item.path.name for item in index] == ["b.jpg"]
    assert index.labels.tolist() == [1]
    (finding,) = index.findings
    assert (finding.code, finding.severity) == ("image-unusable", "warning")
    assert finding.message.startswith(
        "1 of 2 training images cannot be used and are left out, e.g. images/train/a.jpg cannot be "
    )
    assert reason in finding.message


def test_cut_png(tmp_path: Path) -> None:
    image = write_image(tmp_path / "images" / "a.png")
    image.write_bytes(image.read_bytes()[:-300])
    path = write_yaml(tmp_path / "d.yaml", train="images", names=["a"])
    assert findings(path)["image-unusable"].severity == "error"


def test_no_usable_image_is_an_error(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD})
    corrupt_text(tmp_path / "images" / "train" / "a.jpg")
    with pytest.raises(DataError, match=r"1 of 1 training images cannot be used, e\.g\. images"):
        open_dataset(path, "train")
    assert list(findings(path)) == ["image-unusable"]


def test_labels_of_unusable_images_are_not_missed(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": None, "b": GOOD})
    corrupt_text(tmp_path / "images" / "train" / "a.jpg")
    assert list(findings(path)) == ["image-unusable"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    """The image is seen upright: what is red at the top left of the display is read there."""
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = (200, 0, 0)
    stored = Image.fromarray(upright)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images" / f"a{suffix}", exif=exif)
    write_text(tmp_path / "labels" / "a.txt", "0 .25 .25 .5 .5")
    path = write_yaml(tmp_path / "d.yaml", train="images", names=["red"])
    (item,) = open_dataset(path, "train")
    assert item.size_wh == (64, 48)
    image = read_image(item.path, item.size_wh).astype(int)
    left, top, right, bottom = item.xyxy[0].astype(int)
    assert np.abs(image[top + 4 : bottom - 4, left + 4 : right - 4] - (200, 0, 0)).max() < 12
    assert np.abs(image[bottom + 4 :, right + 4 :]).max() < 12


def test_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + content))
    data = path.read_bytes()
    assert read_size(path) == (64, 48)
    path.write_bytes(data[:-12] + chunk + data[-12:])
    assert read_size(path) == (48, 64)
    assert read_image(path, (48, 64)).shape == (64, 48, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_any_pixel_format_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(path)
    else:
        Image.fromarray(picture(30, 20)).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8


def test_read_image_is_rgb_and_checks_the_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), (1, 2, 3), np.uint8))
    assert read_image(tmp_path / "a.png", (30, 20))[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(DataError, match="is 30x20, but was 20x30 when it was scanned"):
        read_image(tmp_path / "a.png", (20, 30))
    with pytest.raises(DataError, match="the file does not exist"):
        read_image(tmp_path / "none.png")


def test_repeated_images_are_used_once(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD})
    path = write_yaml(tmp_path / "d.yaml", train=["images/train", "images"], names=["x"])
    index = open_dataset(path, "train")
    assert len(index) == 1
    assert index.findings[0].code == "image-repeated"


def test_unknown_kind_of_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        open_dataset("digit", "train")
    with pytest.raises(DataError, match=r"does not exist\. Expected a file ending in \.yaml"):
        open_dataset(tmp_path / "data.csv", "train")
    write_text(tmp_path / "data.csv", "a")
    with pytest.raises(DataError, match=r"no data set that is known here\. Expected a file"):
        open_dataset(tmp_path / "data.csv", "train")


def test_faults_of_all_splits_are_reported_at_once(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": GOOD + "7 .5 .5 .1 .1"})
    make_dataset(tmp_path, {"b": None}, split="val")
    keys = {"names": ["cat", "dog"], "train": "images/train"}
    path = write_yaml(tmp_path / "data.yaml", **keys, val="images/val")
    with pytest.raises(DataError) as caught:
        open_splits(path, "train", "val")
    first, second = caught.value.what.splitlines()
    assert first.startswith("[D04] Label class 7 in labels/train/a.txt:2")
    assert second.startswith("[D02] 0 of 1 validation images have a label file.")
    same = write_yaml(tmp_path / "data.yaml", **keys, val="images/train", test="images/train")
    with pytest.raises(DataError) as caught:
        open_splits(same, "val", "test")
    assert len(caught.value.what.splitlines()) == 1


def test_built_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, str]] = []

    def build(root: Path, *, variant: str) -> Path:
        asked.append((root, variant))
        return make_dataset(tmp_path, {"a": GOOD})

    monkeypatch.setattr("tutelage.data.opening.build", build)
    assert len(open_dataset("digits:easy", "train")) == 1
    assert asked == [(cache_root(), "digits:easy")]
