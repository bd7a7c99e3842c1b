"""Ways to damage a sound data set, each with the finding that it causes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
from PIL import Image

from tests.data.write_dataset import (
    GOOD,
    NAMES,
    OTHER,
    picture,
    write_image,
    write_text,
)


def zero_byte(root: Path, image: Path) -> None:
    image.write_bytes(b"")


def truncated(root: Path, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-200])


def cut_bmp(root: Path, image: Path) -> None:
    cv2.imwrite(str(image.with_suffix(".bmp")), picture(64, 48))
    image.with_suffix(".bmp").write_bytes(image.with_suffix(".bmp").read_bytes()[:-900])
    image.unlink()


def webp_named_jpg(root: Path, image: Path) -> None:
    Image.open(image).save(image.with_suffix(".webp"))
    image.with_suffix(".webp").rename(image)


def png_named_jpg(root: Path, image: Path) -> None:
    cv2.imwrite(str(image.with_suffix(".png")), picture(64, 48))
    image.with_suffix(".png").rename(image)


def turned(root: Path, image: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(image).save(image, exif=exif)


def label(text: str) -> Callable[[Path, Path], None]:
    return lambda root, image: (root / "labels/train/a.txt").write_text(text) and None


def raw_label(content: bytes) -> Callable[[Path, Path], None]:
    return lambda root, image: (root / "labels/train/a.txt").write_bytes(content) and None


def same_in_val(root: Path, image: Path) -> None:
    shutil.copy(image, root / "images/val/c.jpg")


def recompressed_in_val(root: Path, image: Path) -> None:
    pixels = cv2.resize(cv2.imread(str(image)), (128, 96))
    cv2.imwrite(str(root / "images/val/c.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])


def same_in_train(root: Path, image: Path) -> None:
    shutil.copy(image, root / "images/train/b.jpg")


def recompressed_in_train(root: Path, image: Path) -> None:
    pixels = cv2.imread(str(image))
    cv2.imwrite(str(root / "images/train/b.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])


def orphan(root: Path, image: Path) -> None:
    write_text(root / "labels/train/lost.txt", GOOD)
    write_text(root / "labels/train/classes.txt", "\n".join(NAMES))


def other_names(root: Path, image: Path) -> None:
    write_text(root / "labels/classes.txt", "dog\ncat\n")


def loop(root: Path, image: Path) -> None:
    (root / "images/train/loop").symlink_to(root / "images")


def self_loop(root: Path, image: Path) -> None:
    (root / "images/train/loop").symlink_to("loop")


def no_class(root: Path, image: Path) -> None:
    write_text(root / "labels/train/b.txt", GOOD)


def unequal(root: Path, image: Path) -> None:
    lines = [f"0 .{i + 10} .5 .1 .1" for i in range(20)]
    write_text(root / "labels/train/a.txt", "\n".join(lines))


def background(root: Path, image: Path) -> None:
    write_text(root / "labels/train/b.txt", "")
    write_text(root / "labels/train/a.txt", GOOD + OTHER)


def mostly_background(root: Path, image: Path) -> None:
    background(root, image)
    write_image(root / "images/train/e.jpg", seed=9)
    write_text(root / "labels/train/e.txt", "")


def unreadable_label(root: Path, image: Path) -> None:
    (root / "labels/train/a.txt").unlink()
    (root / "labels/train/a.txt").mkdir()


CASES = [
    (
        zero_byte,
        "train",
        "image-unusable",
        "warning",
        "images/train/a.jpg cannot be read: the file",
    ),
    (truncated, "train", "image-unusable", "warning", "truncated"),
    (cut_bmp, "train", "image-damaged", "warning", "images/train/a.bmp cannot be decoded"),
    (webp_named_jpg, "train", "image-suffix", "warning", "images/train/a.jpg is WEBP"),
    (png_named_jpg, "train", "image-suffix", "warning", "images/train/a.jpg is PNG"),
    (turned, "train", "image-rotated", "info", "images/train/a.jpg"),
    (label("0 .5 .5 .02 .5\n" + OTHER), "train", "box-tiny", "warning", "a.txt:1 1.3x24 px"),
    (label(GOOD + GOOD), "train", "label-duplicate", "warning", "labels/train/a.txt:2"),
    (label("0 .5 .5 0 .5\n" + GOOD), "train", "label-no-area", "warning", "labels/train/a.txt:1"),
    (label("0 1.5 .5 .1 .1"), "train", "label-range", "error", "labels/train/a.txt:1"),
    (label("0,.5,.5,.1,.1"), "train", "label-separator", "error", "labels/train/a.txt"),
    (label("0 0,5 0,5 0,1 0,1"), "train", "label-separator", "error", "labels/train/a.txt"),
    (label("0\t.5\t.5\t.1\t.1"), "train", "label-separator", "info", "labels/train/a.txt"),
    (raw_label(b"0 .5 .5 .1 .1\r\n"), "train", "label-separator", "info", "labels/train/a.txt"),
    (raw_label(GOOD.encode("utf-16")), "train", "label-encoding", "error", "labels/train/a.txt"),
    (raw_label(GOOD.encode("utf-8-sig")), "train", "label-encoding", "info", "labels/train/a.txt"),
    (raw_label(b"0 .5 .5 .1 .1 \xe9"), "train", "label-encoding", "warning", "labels/train/a.txt"),
    (unreadable_label, "train", "label-malformed", "error", "labels/train/a.txt:1"),
    (
        same_in_val,
        "",
        "split-leak",
        "error",
        "images/train/a.jpg (train) and images/val/c.jpg (val)",
    ),
    (recompressed_in_val, "", "split-leak-near", "warning", "a.jpg (train) and images/val/c.jpg"),
    (same_in_train, "", "image-duplicate", "warning", "images/train/a.jpg (train) and"),
    (recompressed_in_train, "", "image-duplicate-near", "info", "images/train/b.jpg (train)"),
    (orphan, "", "label-orphan", "warning", "labels/train/lost.txt"),
    (other_names, "", "names-differ", "warning", "labels/classes.txt"),
    (loop, "", "link-loop", "warning", "images/train/loop"),
    (self_loop, "", "link-loop", "warning", "images/train/loop"),
    (no_class, "train", "class-empty", "warning", "dog"),
    (background, "train", "image-background", "info", "images/train/b.jpg"),
    (mostly_background, "train", "image-background", "warning", "images/train/b.jpg"),
]
