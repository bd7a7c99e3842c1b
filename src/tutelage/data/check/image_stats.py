"""A look at the pixels of every image: what it really is, and what it looks like."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tutelage.data.findings import Finding, gather
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.image import FORMATS
from tutelage.sanitise import printable

_CHUNK = 16
_SIDE = 8
_FLAT = 2.0  # grey levels; what varies less has no look that could be compared
_ORIENTATION = 0x0112
_SUFFIXES = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".mpo", ".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}


class ImageStats(NamedTuple):
    """What was seen of ``n`` images.

    Attributes:
        digests: ``(n, 2)`` uint64, a hash of the file's bytes; 0 if it was not decoded.
        hashes: ``(n, 2)`` uint64, difference hashes: where brightness rises to the right, and
            downwards, on a grid of 8 x 8.
        grids: ``(n, 81)`` uint8, the image in 9 x 9 greys.
        comparable: ``(n,)`` bool, whether the image was decoded and is not of one grey all over.
        formats: ``(n,)`` str, the format by content; empty if it cannot be told.
        turned: ``(n,)`` bool, whether EXIF says that the image is to be turned or mirrored.
        reasons: ``(n,)`` str, why its pixels cannot be decoded; empty for the others.
    """

    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    grids: NDArray[np.uint8]
    comparable: NDArray[np.bool_]
    formats: NDArray[np.str_]
    turned: NDArray[np.bool_]
    reasons: NDArray[np.str_]


class _OneImage(NamedTuple):
    digest: bytes = bytes(16)
    dhash: bytes = bytes(16)
    grid: bytes = bytes((_SIDE + 1) ** 2)
    comparable: bool = False
    format: str = ""
    turned: bool = False
    reason: str = ""


def look(images: Sequence[str], progress: Callable[[int], None]) -> ImageStats:
    """Read and decode images on all cores; a bad one gives a reason and nothing else.

    Args:
        images: The files.
        progress: Is told how many more are done.
    """
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    seen: list[_OneImage] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(lambda chunk: [_look(image) for image in chunk], chunks):
            seen += part
            progress(len(part))
    return ImageStats(
        np.frombuffer(b"".join(one.digest for one in seen), np.uint64).reshape(-1, 2),
        np.frombuffer(b"".join(one.dhash for one in seen), np.uint64).reshape(-1, 2),
        np.frombuffer(b"".join(one.grid for one in seen), np.uint8).reshape(len(seen), -1),
        np.array([one.comparable for one in seen], np.bool_),
        np.array([one.format for one in seen], np.str_),
        np.array([one.turned for one in seen], np.bool_),
        np.array([one.reason for one in seen], np.str_),
    )


def notice_looks(opened: OpenedSplit, looks: ImageStats) -> Iterator[Finding]:
    """Yield images that cannot be decoded, have another suffix than format, or are to be turned."""
    images, short = opened.listed.images, opened.listed.short
    bad = np.flatnonzero((looks.reasons != "") & opened.usable).tolist()
    if bad:
        cases = (f"{short(images[i])} {looks.reasons[i]}" for i in bad)
        what = "Images with a sound header that cannot be decoded"
        fix = "Copy or download them again; training would put others in their place."
        yield gather("image-damaged", "warning", what, cases, len(bad), fix)
    named = [
        f"{short(image)} is {kind}"
        for image, kind in zip(images, looks.formats.tolist(), strict=True)
        if not image.lower().endswith(_SUFFIXES.get(kind, ("",)))
    ]
    if named:
        what = "Images of another format than their names say"
        fix = "They are read all the same; other tools may refuse them: rename them."
        yield gather("image-suffix", "warning", what, named, len(named), fix)
    turned = np.flatnonzero(looks.turned).tolist()
    if turned:
        cases = (short(images[i]) for i in turned)
        what = "Images that are turned or mirrored, as their EXIF data say"
        fix = "Their boxes must belong to the upright image; look at some with  --html"
        yield gather("image-rotated", "info", what, cases, len(turned), fix)


def _look(image: str) -> _OneImage:
    seen = _OneImage()
    try:
        content = Path(image).read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            exif = Image.Exif()
            exif.load(opened.info.get("exif", b""))
            turned = int(exif.get(_ORIENTATION, 1)) in range(2, 9)
            seen = seen._replace(format=opened.format or "", turned=turned)
            opened.draft("L", (4 * _SIDE, 4 * _SIDE))  # a JPEG decodes at an eighth of its size
            grey = opened.convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        reason = printable(str(error)[:80]) or type(error).__name__
        return seen._replace(reason=f"cannot be decoded: {reason}")
    grid = np.asarray(grey, np.uint8)
    right = grid[:_SIDE, 1:] > grid[:_SIDE, :-1]
    down = grid[1:, :_SIDE] > grid[:-1, :_SIDE]
    dhash = np.packbits([right, down]).tobytes()
    digest = blake2b(content, digest_size=16).digest()
    comparable = bool(grid.std() > _FLAT)
    return seen._replace(digest=digest, dhash=dhash, grid=grid.tobytes(), comparable=comparable)
