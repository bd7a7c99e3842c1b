#!/usr/bin/env bash
# Pillow turns a TIFF by its orientation when it loads it. An uncompressed one that is opened by its path is
# mapped into memory, and there the turned size is laid over the unturned rows: with orientation 5 to 8 (on its
# side) the picture is scrambled and has its unturned shape, without an error. From BytesIO, compressed, or as
# RGB it is right. Scans and microscope images so train on noise, and a test that decodes bytes passes.
#
# Seen with Pillow 13.0.0, numpy 2.4.6, Python 3.11; a picture of 60 x 40 with orientation 6, Image.open;
# expected "turned" everywhere (scrambled: the values of the picture in a wrong order)
#           path        path, exif_transpose  path, convert  BytesIO  path, LZW
#   L       scrambled   scrambled             scrambled      turned   turned
#   P       scrambled   scrambled             scrambled      turned   turned
#   I;16    scrambled   scrambled             scrambled      turned   turned
#   RGBA    scrambled   scrambled             scrambled      turned   turned
#   RGB     turned      turned                turned         turned   turned
# Orientation 5, 7 and 8 give the same table; 2, 3 and 4 are right everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 274
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SCRAMBLED = ["scrambled", "scrambled", "scrambled", "turned", "turned"]
folder = Path(sys.argv[1])
path, packed = folder / "a.tif", folder / "packed.tif"
ramp = np.arange(2400).reshape(40, 60)
grey = Image.fromarray((ramp // 10).astype(np.uint8))
pictures = {
    "L": grey,
    "P": grey.convert("P"),
    "I;16": Image.fromarray(ramp.astype(np.uint16)),
    "RGBA": Image.merge("RGBA", [grey] * 4),
    "RGB": Image.merge("RGB", [grey] * 3),
}


def answer(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    if np.array_equal(found, wanted):
        return "turned"
    unturned = found.shape[:2] == (40, 60) and np.array_equal(np.sort(found, None), np.sort(wanted, None))
    return "scrambled" if unturned else "other"


failed = False
print("path; path, exif_transpose; path, convert; BytesIO; path, LZW")
for mode, picture in pictures.items():
    rows = {}
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        picture.save(path, exif=exif)
        picture.save(packed, exif=exif, compression="tiff_lzw")
        wanted = picture.transpose(turn)
        answers = [
            answer(Image.open(path), wanted),
            answer(ImageOps.exif_transpose(Image.open(path)), wanted),
            answer(Image.open(path).convert("RGB"), wanted.convert("RGB")),
            answer(Image.open(BytesIO(path.read_bytes())), wanted),
            answer(Image.open(packed), wanted),
        ]
        expected = SCRAMBLED if orientation >= 5 and mode != "RGB" else ["turned"] * 5
        rows.setdefault("; ".join(answers), []).append(orientation)
        failed |= answers != expected
    for row, orientations in rows.items():
        print(f"{mode}, orientations {orientations}: {row}")
if failed:
    sys.exit("Pillow no longer behaves as described")
PY
