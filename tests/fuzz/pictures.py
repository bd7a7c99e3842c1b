"""Image files of every kind, and what is done to their headers."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.data.write_dataset import picture
from tests.fuzz.mutation import damaged

SIDES = (0, 1, 9, 10, 63, 65, 4_000, 17_000, 30_000, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 48
%%EndComments
(pwned) (w) file closefile showpage
%%EOF
"""
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='48'><image href='file:///etc/passwd'/></svg>"


def seeds() -> tuple[bytes, ...]:
    """Return small sound images: colours, greys, palettes, depths, several frames, turned."""
    colours = Image.fromarray(picture(64, 48))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described"
    found: list[bytes] = []
    for kind, options in (
        ("JPEG", {}), ("JPEG", {"progressive": True, "exif": exif}),
        ("JPEG", {"restart_marker_rows": 1}), ("PNG", {}), ("PNG", {"exif": exif}), ("WEBP", {}),
        ("WEBP", {"lossless": True, "exif": exif}),
        ("GIF", {"save_all": True, "append_images": [colours.rotate(9)] * 3}), ("BMP", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}), ("TIFF", {"compression": "jpeg"}),
        ("MPO", {"save_all": True, "append_images": [colours]}), ("JPEG2000", {}), ("PPM", {}),
        ("ICO", {}), ("TGA", {}), ("PCX", {}),
    ):  # fmt: skip
        found.append(_saved(colours, kind, options))
    for mode in ("L", "1", "P", "RGBA", "I;16", "LA"):
        other = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
        image = other if mode == "I;16" else colours.convert(mode)
        found += [_saved(image, "PNG", {}), _saved(image, "TIFF", {})]
    found += [_saved(colours.convert("CMYK"), "JPEG", {}), EPS, SVG, bomb("PNG"), bomb("TIFF")]
    return tuple(found)


def bomb(kind: str, side: int = 12_000) -> bytes:
    """Return a file of some kB that unpacks to hundreds of MB."""
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}
    return _saved(Image.new("1", (side, side)), kind, options)


def _saved(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def of_pictures(files: tuple[bytes, ...]) -> Callable[[random.Random], bytes]:
    """Return what damages one of some images: anywhere, in its header, or in its stated size."""

    def mutate(rng: random.Random) -> bytes:
        whole = rng.choice(files)
        kind = rng.randrange(8)
        if kind < 3:
            whole = _resized(whole, rng)
        if kind == 3:
            end = rng.choice([32, 128, 600])
            whole = damaged(whole[:end], rng) + whole[end:]
        elif kind == 4:
            whole = bytearray(whole)
            for _ in range(rng.choice([1, 2, 8, 40])):
                whole[rng.randrange(min(len(whole), rng.choice([64, 400, 10**9])))] = rng.randrange(
                    256
                )
            whole = bytes(whole)
        elif kind == 5:
            whole = damaged(whole, rng)
        elif kind == 6:
            whole = whole[: rng.randrange(len(whole))] + rng.choice([b"", b"\xff\xd9", bytes(500)])
        if rng.random() < 0.6:
            whole = _checked(whole)
        return whole

    return mutate


def _resized(whole: bytes, rng: random.Random) -> bytes:
    """Write other sides where the format keeps them."""
    sides = [rng.choice(SIDES) for _ in range(2)]
    data = bytearray(whole)
    at, form = 0, ""
    if whole.startswith(b"\x89PNG"):
        at, form = 16, ">II"
    elif whole.startswith(b"GIF"):
        at, form = 6, "<HH"
    elif whole.startswith(b"BM"):
        at, form = 18, "<II"
    elif whole.startswith(b"\xff\xd8"):
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            at = max(whole.find(marker) + 5, 0) if marker in whole else at
        form = ">HH"
    elif whole.startswith(b"II"):
        start = struct.unpack_from("<I", whole, 4)[0]
        for entry in range(start + 2, min(start + 14 * 12, len(whole) - 12), 12):
            tag = struct.unpack_from("<H", whole, entry)[0]
            if tag in (256, 257) or rng.random() < 0.05:
                struct.pack_into("<I", data, entry + 8, rng.choice(sides) & 0xFFFFFFFF)
        return bytes(data)
    elif b"VP8 " in whole[:64]:
        at, form = whole.find(b"VP8 ") + 14, "<HH"
    if form and at + struct.calcsize(form) <= len(data):
        most = 2 ** (8 * struct.calcsize(form) // 2) - 1
        struct.pack_into(form, data, at, *(side & most for side in sides))
    return bytes(data)


def _checked(whole: bytes) -> bytes:
    """Mend the checksums of a PNG's chunks, so that a change gets past them."""
    if not whole.startswith(b"\x89PNG\r\n\x1a\n"):
        return whole
    data, at = bytearray(whole), 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(data)
