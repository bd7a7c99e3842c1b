"""Images of any depth and compression mean the same."""

from __future__ import annotations

import lzma
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tutelage.data.image import orientation, read_image, read_size
from tutelage.errors import DataError


def save(path: Path, values: NDArray[np.generic] | Image.Image, turned: int = 1, **options) -> Path:
    exif = Image.Exif()
    exif[0x0112] = turned
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, exif=exif, **options)
    return path


@pytest.fixture(name="grey16")
def _grey16() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "png"]
)
def test_sixteen_bits_mean_the_same_in_every_file(
    tmp_path: Path, grey16: NDArray[np.uint16], compression: str | None, turned: int
) -> None:
    if compression == "png":
        path = save(tmp_path / "a.png", grey16, turned)
    else:
        path = save(tmp_path / "a.tif", grey16, turned, compression=compression)
    upright = np.rot90(grey16, -1) if turned == 6 else grey16
    image = read_image(path, read_size(path))
    assert np.array_equal(image, np.stack([np.rint(upright / 257)] * 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_of_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), rgb[..., ::-1])
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), np.rint(rgb / 257))
    scaled = read_image(tmp_path / f"a{suffix}", None, (0, 4095))
    assert np.abs(scaled - np.clip(rgb / 4095 * 255, 0, 255)).max() <= 0.51


@pytest.mark.parametrize(
    ("values", "image_range", "expected"),
    [
        (np.uint16([0, 2048, 4095, 9000]), (0, 4095), [0, 128, 255, 255]),
        (np.float32([-1, 0, 0.5, 1]), (0, 1), [0, 0, 128, 255]),
        (np.float32([-1, 0, np.nan, np.inf]), (-1, 1), [0, 128, 0, 255]),
        (np.float32([-1, 0.4, 7, 300]), None, [0, 0, 7, 255]),
        (np.int32([-1000, 0, 1000, 3000]), (-1000, 3000), [0, 64, 128, 255]),
        (np.uint8([0, 7, 100, 255]), (0, 1), [0, 7, 100, 255]),
    ],
)
def test_the_range_is_black_and_white(tmp_path: Path, values, image_range, expected) -> None:
    path = save(tmp_path / "a.tif", np.tile(values, (10, 3)))
    assert read_image(path, None, image_range)[0, :4, 0].tolist() == expected


def write_tiff(path: Path, data: bytes, tags: dict[int, int], bits: tuple[int, ...]) -> Path:
    """Write a TIFF of one strip with tags of one number each, and the bits of each channel."""
    start = 8 + 2 * len(bits)
    tags |= {258: bits[0] if len(bits) == 1 else 8, 273: start, 277: len(bits), 279: len(data)}
    entries = b"".join(
        np.array([tag, 3 if tag == 258 else 4], "<u2").tobytes()
        + np.array([len(bits) if tag == 258 else 1, tags[tag]], "<u4").tobytes()
        for tag in sorted(tags)
    )
    content = b"II*\0" + np.array(start + len(data), "<u4").tobytes()
    content += np.array(bits, "<u2").tobytes() + data + np.array(len(tags), "<u2").tobytes()
    path.write_bytes(content + entries + bytes(4))
    return path


def test_twelve_bits_of_a_tiff_that_says_so(tmp_path: Path) -> None:
    values = np.arange(0, 4096, 16).reshape(16, 16)
    packed = "".join(f"{value:012b}" for value in values.ravel().tolist())
    data = int(packed, 2).to_bytes(len(packed) // 8, "big")
    tags = {256: 16, 257: 16, 259: 1, 262: 1, 278: 16}
    path = write_tiff(tmp_path / "a.tif", data, tags, (12,))
    assert np.array_equal(read_image(path)[..., 1], np.rint(values * 255 / 4095))
    assert read_image(path, None, (0, 2047))[8, 0, 0] == 255


def test_colours_that_lose_their_low_bytes_are_not_scaled(tmp_path: Path) -> None:
    """Pillow reads this compression, but only 8 bits of each colour."""
    rgb = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype("<u2")
    tags = {256: 30, 257: 20, 259: 34925, 262: 2, 278: 20}
    path = write_tiff(tmp_path / "a.tif", lzma.compress(rgb.tobytes()), tags, (16, 16, 16))
    assert np.abs(read_image(path) - rgb / 257).max() < 1
    with pytest.raises(DataError, match=r"colours of 16 bits .* save it as PNG"):
        read_image(path, None, (0, 4095))


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_orientation_of_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.new("RGB", (30, 20)), turned=6)
    with Image.open(path) as opened:
        assert orientation(opened) == 6


def test_nothing_is_printed_about_files_that_only_pillow_reads(
    tmp_path: Path, grey16: NDArray[np.uint16], capfd: pytest.CaptureFixture[str]
) -> None:
    read_image(save(tmp_path / "a.tif", grey16, compression="zstd"))
    read_image(save(tmp_path / "b.tif", grey16.astype(np.float32)))
    assert capfd.readouterr() == ("", "")


def lab(path: Path) -> Path:
    """Write a TIFF in the colours of CIELAB."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    change = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    return save(path, ImageCms.applyTransform(image, change))


def test_cielab_is_read(tmp_path: Path) -> None:
    assert read_image(lab(tmp_path / "a.tif")).std() > 20
