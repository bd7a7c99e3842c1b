"""Decodes every image: its real format, its orientation, and hashes of its content."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tutelage.data.bit_depth import ImageRange, bits_per_value, to_8_bits
from tutelage.data.check.faint_images import FAINT, FaintImage, check_faint_images, faint
from tutelage.data.findings import Finding, summarise
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.image import PILLOW_FORMATS, decode, orientation
from tutelage.sanitise import printable

_CHUNK = 16
_SIDE = 8
_FLAT = 2.0  # standard deviation in grey levels under which an image has no usable hash
_SAME_IN_PILLOW = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_SUFFIXES = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".mpo", ".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}


class ImageStats(NamedTuple):
    """Statistics of ``n`` images.

    Attributes:
        digests: ``(n, 2)`` uint64, a hash of the file's bytes; 0 if it cannot be decoded.
        hashes: ``(n, 2)`` uint64, difference hashes: where brightness rises to the right, and
            downwards, on a grid of 8 x 8.
        grids: ``(n, 81)`` uint8, the image as 9 x 9 grey levels.
        comparable: ``(n,)`` bool, whether the image was decoded and is not uniform.
        formats: ``(n,)`` str, the format by content; empty if unknown.
        turned: ``(n,)`` bool, whether the EXIF orientation rotates or mirrors the image.
        reasons: ``(n,)`` str, why its pixels cannot be decoded; empty for the others.
        faint: The values of those that use few levels of grey; None for the others.
    """

    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    grids: NDArray[np.uint8]
    comparable: NDArray[np.bool_]
    formats: NDArray[np.str_]
    turned: NDArray[np.bool_]
    reasons: NDArray[np.str_]
    faint: tuple[FaintImage | None, ...]


class _OneImage(NamedTuple):
    digest: bytes = bytes(16)
    dhash: bytes = bytes(16)
    grid: bytes = bytes((_SIDE + 1) ** 2)
    comparable: bool = False
    format: str = ""
    turned: bool = False
    reason: str = ""
    faint: FaintImage | None = None


def read_image_stats(
    images: Sequence[str],
    progress: Callable[[int], None],
    image_range: ImageRange | None = None,
) -> ImageStats:
    """Read and decode images on all cores; a damaged one only has a reason.

    Args:
        images: The files.
        progress: Called with the number of images just finished.
        image_range: The values that are black and white, as in training.
    """
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    stats: list[_OneImage] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(
            lambda chunk: [_read_stats(image, image_range) for image in chunk], chunks
        ):
            stats += part
            progress(len(part))
    return ImageStats(
        np.frombuffer(b"".join(one.digest for one in stats), np.uint64).reshape(-1, 2),
        np.frombuffer(b"".join(one.dhash for one in stats), np.uint64).reshape(-1, 2),
        np.frombuffer(b"".join(one.grid for one in stats), np.uint8).reshape(len(stats), -1),
        np.array([one.comparable for one in stats], np.bool_),
        np.array([one.format for one in stats], np.str_),
        np.array([one.turned for one in stats], np.bool_),
        np.array([one.reason for one in stats], np.str_),
        tuple(one.faint for one in stats),
    )


def check_image_files(opened: OpenedSplit, stats: ImageStats) -> Iterator[Finding]:
    """Yield images that cannot be decoded, have a wrong suffix, are rotated or faint."""
    images, short = opened.listing.images, opened.listing.short
    bad = np.flatnonzero((stats.reasons != "") & opened.scan.usable).tolist()
    if bad:
        cases = (f"{short(images[i])} {stats.reasons[i]}" for i in bad)
        what = "Images with a sound header that cannot be decoded"
        fix = "Copy or download them again; training would put others in their place."
        yield summarise("image-damaged", "warning", what, cases, len(bad), fix)
    misnamed = [
        f"{short(image)} is {kind}"
        for image, kind in zip(images, stats.formats.tolist(), strict=True)
        if not image.lower().endswith(_SUFFIXES.get(kind, ("",)))
    ]
    if misnamed:
        what = "Images of another format than their names say"
        fix = "They are read all the same; other tools may refuse them: rename them."
        yield summarise("image-suffix", "warning", what, misnamed, len(misnamed), fix)
    turned = np.flatnonzero(stats.turned).tolist()
    if turned:
        cases = (short(images[i]) for i in turned)
        what = "Images that are turned or mirrored, as their EXIF data say"
        fix = "Their boxes must belong to the upright image; look at some with  --html"
        yield summarise("image-rotated", "info", what, cases, len(turned), fix)
    if any(stats.faint):
        names = [short(image) for image in images]
        yield from check_faint_images(names, stats.faint, "--set train.image_range=")


def _read_stats(image: str, image_range: ImageRange | None) -> _OneImage:
    stats = _OneImage()
    try:
        content = Path(image).read_bytes()
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as opened:
            turned = orientation(opened) in range(2, 9)
            stats = stats._replace(format=opened.format or "", turned=turned)
            picture, values = _grey(content, opened, image_range)
            grey = picture.resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        reason = printable(str(error)[:80]) or type(error).__name__
        return stats._replace(reason=f"cannot be decoded: {reason}")
    grid = np.asarray(grey, np.uint8)
    right = grid[:_SIDE, 1:] > grid[:_SIDE, :-1]
    down = grid[1:, :_SIDE] > grid[:-1, :_SIDE]
    dhash = np.packbits([right, down]).tobytes()
    digest = blake2b(content, digest_size=16).digest()
    comparable = bool(grid.std() > _FLAT)
    return stats._replace(
        digest=digest, dhash=dhash, grid=grid.tobytes(), comparable=comparable, faint=values
    )


def _grey(
    content: bytes, opened: Image.Image, image_range: ImageRange | None
) -> tuple[Image.Image, FaintImage | None]:
    """Return an image in 8 bits of grey, and its values if it is faint.

    It is decoded as in :func:`tutelage.data.image.read_image`, or by Pillow, which can shrink a
    JPEG while it decodes it, where that reads the same. A faint image of more than 8 bits is
    stretched to its own values, so that it can be compared with others.
    """
    if bits_per_value(opened) > 8 or opened.mode not in _SAME_IN_PILLOW:
        pixels = decode(content, opened)
        values = faint(pixels, image_range)
        own = (values.low, values.high) if values and values.low < values.high else image_range
        return Image.fromarray(to_8_bits(*pixels, own)).convert("L"), values
    opened.draft("L", (4 * _SIDE, 4 * _SIDE))  # a JPEG decodes at an eighth of its size
    grey = opened.convert("L")
    low, high = cast("tuple[int, int]", grey.getextrema())
    return grey, FaintImage(8, low, high) if high - low < FAINT else None
