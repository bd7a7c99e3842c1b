#!/usr/bin/env bash
# Whether a reader turns a picture by its EXIF orientation depends on the container: cv2.imread turns JPEG, PNG
# and WebP, but not AVIF, and returns None for a TIFF that cv2.imdecode reads (turned) from the same bytes;
# Pillow turns TIFF when it is loaded, the others only by exif_transpose; imageio turns none. Converting a
# data set to another container, or reading it with another library, lays boxes a quarter turn beside objects.
#
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, imageio 2.38.1, tifffile 2026.3.3, numpy 2.4.6,
# Python 3.11; a picture of 60 x 40 with orientation 6; expected one answer in each column
#          Pillow  exif_transpose  cv2.imread  cv2.imdecode  imageio
#   jpg    stored  turned          turned      turned        stored
#   png    stored  turned          turned      turned        stored
#   webp   stored  turned          turned      turned        stored
#   tif    turned  turned          None        turned        stored
#   avif   stored  turned          stored      stored        stored
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  pillow==13.0.0 opencv-python-headless==5.0.0.93 imageio==2.38.1 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageOps

ORIENTATION, TURNED_RIGHT = 274, 6
EXPECTED = {
    "jpg": ["stored", "turned", "turned", "turned", "stored"],
    "png": ["stored", "turned", "turned", "turned", "stored"],
    "webp": ["stored", "turned", "turned", "turned", "stored"],
    "tif": ["turned", "turned", "None", "turned", "stored"],
    "avif": ["stored", "turned", "stored", "stored", "stored"],
}
folder = Path(sys.argv[1])
picture = Image.fromarray(np.full((40, 60, 3), 90, np.uint8))
exif = Image.Exif()
exif[ORIENTATION] = TURNED_RIGHT


def answer(pixels):
    return "None" if pixels is None else {(40, 60): "stored", (60, 40): "turned"}[pixels.shape[:2]]


result = {}
for suffix in EXPECTED:
    path = str(folder / f"a.{suffix}")
    picture.save(path, exif=exif)
    readings = [
        np.asarray(Image.open(path)),
        np.asarray(ImageOps.exif_transpose(Image.open(path))),
        cv2.imread(path),
        cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR),
        imageio.imread(path),
    ]
    result[suffix] = [answer(pixels) for pixels in readings]
print("      Pillow, exif_transpose, cv2.imread, cv2.imdecode, imageio")
for suffix, answers in result.items():
    print(f"{suffix:5}", ", ".join(answers))
if result != EXPECTED:
    sys.exit("a reader no longer behaves as described")
PY
