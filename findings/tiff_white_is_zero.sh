#!/usr/bin/env bash
# A TIFF may store white as 0 (MinIsWhite: scanners, fax, X-ray). Whether a reader turns it into a positive
# depends on the bits and the flag: Pillow does for 8 bits and not for 16, OpenCV for 16 in colour and not
# with IMREAD_UNCHANGED, tifffile and imageio never. A detector trained through one library sees negatives
# through another, and 8-bit and 16-bit pictures of one set disagree.
#
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3, imageio 2.38.1, numpy 2.4.6,
# Python 3.11; the stored value 0 means white; expected white everywhere
#            Pillow  cv2.imread  IMREAD_UNCHANGED  tifffile  imageio
#   8 bits   white   white       white             black     black
#   16 bits  black   white       black             black     black
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  pillow==13.0.0 opencv-python-headless==5.0.0.93 tifffile==2026.3.3 imageio==2.38.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
import tifffile
from PIL import Image

EXPECTED = {
    8: ["white", "white", "white", "black", "black"],
    16: ["black", "white", "black", "black", "black"],
}
folder = Path(sys.argv[1])
ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))


def corner(pixels):
    value = int(np.max(pixels[0, 0]))
    return {0: "black", np.iinfo(pixels.dtype).max: "white"}[value]


result = {}
for bits, pixels in {8: ramp, 16: ramp.astype(np.uint16) * 257}.items():
    path = str(folder / f"{bits}.tif")
    tifffile.imwrite(path, pixels, photometric="miniswhite")
    readings = [
        np.asarray(Image.open(path)),
        cv2.imread(path),
        cv2.imread(path, cv2.IMREAD_UNCHANGED),
        tifffile.imread(path),
        imageio.imread(path),
    ]
    result[bits] = [corner(reading) for reading in readings]
    print(f"{bits} bits: Pillow, cv2.imread, IMREAD_UNCHANGED, tifffile, imageio:", *result[bits])
if result != EXPECTED:
    sys.exit("a reader no longer behaves as described")
PY
