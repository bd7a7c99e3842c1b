"""Images that look black or white because of how their values are read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.test_image import lab
from tests.data.write_dataset import write_text, write_yaml
from tutelage.config.schema import AugmentConfig
from tutelage.data import EvaluationDataset, open_dataset, open_splits
from tutelage.data.check import examine
from tutelage.data.check.faint_images import check_some_images
from tutelage.data.dataset import DetectionDataset
from tutelage.data.image_cache import ImageCache
from tutelage.data.sampler import SampleKey
from tutelage.deploy.verification_images import images_of
from tutelage.run.sample_images import save_detections


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def shapes(seed: int) -> NDArray[np.float32]:
    """Return a picture with values in 0..1."""
    coarse = np.random.default_rng(seed).random((6, 8), np.float32)
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST)


def make(root: Path, convert, seeds: dict[str, range]) -> Path:
    """Write TIFFs of pictures of these seeds to each split."""
    for split, numbers in seeds.items():
        for number in numbers:
            path = root / "images" / split / f"{split}{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(convert(shapes(number))).save(path)
            write_text(root / "labels" / split / f"{split}{number}.txt", "0 .5 .5 .4 .4")
    return write_yaml(root / "d.yaml", train="images/train", val="images/val", names=["a"])


def dark(data: Path, **options) -> list[str]:
    """Return the messages about dark images."""
    findings = [one.finding for one in examine(data, **options).findings]
    return [f"{each.message} {each.fix}" for each in findings if each.code == "image-dark"]


KINDS = {
    "12 bits in 16": (lambda x: (4095 * x).astype(np.uint16), "0,4095"),
    "14 bits of which few are used": (lambda x: (7000 + 900 * x).astype(np.uint16), None),
    "floats to 1": (lambda x: x, "0,1"),
    "floats to 1000": (lambda x: 1000 * x, "0,1023"),
    "floats around 0": (lambda x: 4 * x - 2, "-2,2"),
    "12 bits in 32": (lambda x: (4095 * x).astype(np.int32), "0,4095"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_would_be_lost_are_told_with_their_range(tmp_path: Path, kind: str) -> None:
    convert, suggested = KINDS[kind]
    data = make(tmp_path, convert, {"train": range(3), "val": range(3, 5)})
    train, val = dark(data)
    assert "3 of 3 (100 %)" in train
    assert "2 of 2" in val
    given = train.rpartition("train.image_range=")[2]
    assert suggested in (None, given)
    low, high = map(float, given.split(","))
    assert dark(data, image_range=(low, high)) == []
    (before,) = check_some_images(open_dataset(data, "train"), "OPTION=")
    assert before.message.endswith(f"OPTION={given}")
    assert not [*check_some_images(open_dataset(data, "train", image_range=(low, high)), "")]


SOUND = {
    "16 bits": lambda x: (65535 * x).astype(np.uint16),
    "8 bits": lambda x: (255 * x).astype(np.uint8),
    "floats to 255": lambda x: 255 * x,
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_images_are_not_told(tmp_path: Path, kind: str) -> None:
    data = make(tmp_path, SOUND[kind], {"train": range(3), "val": range(3, 5)})
    assert dark(data) == []
    assert [*check_some_images(open_dataset(data, "train"), "")] == []


def test_a_dead_pixel_does_not_hide_that_an_image_is_dark(tmp_path: Path) -> None:
    def convert(x: NDArray[np.float32]) -> NDArray[np.uint16]:
        values = (4095 * x).astype(np.uint16)
        values[0, 0] = 65535
        return values

    assert len(dark(make(tmp_path, convert, {"train": range(3), "val": range(3, 5)}))) == 2


def test_dark_images_of_8_bits_are_told_by_check_alone(tmp_path: Path) -> None:
    data = make(tmp_path, lambda x: (12 * x).astype(np.uint8), {"train": range(2), "val": range(2)})
    assert "images of 8 bits are used as they are" in dark(data)[0]
    assert [*check_some_images(open_dataset(data, "train"), "")] == []


@pytest.mark.parametrize("kind", [*SOUND, *KINDS])
def test_leaks_are_found_whatever_the_depth(tmp_path: Path, kind: str) -> None:
    """Two pictures of twelve are in both splits, saved with another compression."""
    convert = SOUND[kind] if kind in SOUND else KINDS[kind][0]
    data = make(tmp_path, convert, {"train": range(8), "val": range(6, 12)})
    for number in (6, 7):
        path = tmp_path / f"images/val/val{number}.tif"
        with Image.open(path) as image:
            image.save(path, compression="tiff_lzw")
    (leak,) = [one.finding for one in examine(data).findings if "leak" in one.finding.code]
    assert (leak.code, leak.count) == ("split-leak-near", 2)


def test_all_images_of_an_index_have_its_range(tmp_path: Path) -> None:
    data = make(tmp_path, KINDS["12 bits in 16"][0], {"train": range(2), "val": range(2, 4)})
    train, val = open_splits(data, "train", "val", image_range=(0, 4095))
    plain = AugmentConfig(mosaic=0, hsv_v=0, translate=0, scale=0, fliplr=0)
    cache = ImageCache(train, image_size=64, gib=1)
    brightest = {
        "training": DetectionDataset(train, image_size=64, config=plain)[SampleKey(0, 0)],
        "cache": DetectionDataset(train, image_size=64, config=plain, cache=cache)[SampleKey(0, 0)],
        "evaluation": EvaluationDataset(val.subset([1]), image_size=64)[SampleKey(0, 0)],
    }
    assert {name for name, each in brightest.items() if each.sample.image.max() > 200} == {
        *brightest
    }
    save_detections(tmp_path, val, [])
    assert np.quantile(cv2.imread(str(tmp_path / "val_found.jpg")), 0.9) > 200
    assert train.fingerprint != open_dataset(data, "train").fingerprint
    images = images_of(data, "val", count=2, image_range=(0, 4095)).images
    assert min(image.max() for image in images) > 200


def test_check_reads_what_training_reads(tmp_path: Path) -> None:
    data = make(tmp_path, SOUND["8 bits"], {"train": range(2), "val": range(2, 4)})
    lab(tmp_path / "images/train/train0.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SOUND["8 bits"](shapes(1))).save(
        tmp_path / "images/train/train1.tif", exif=exif
    )
    codes = {one.finding.code for one in examine(data).findings}
    assert codes == {"image-rotated"}
