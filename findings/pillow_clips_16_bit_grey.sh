#!/usr/bin/env bash
# Image.open(path).convert("RGB"), the usual loader (torchvision's data sets have it), clips 16-bit grey
# pictures: everything above 255 of 65535 is white. 16-bit colour pictures are scaled by the same line,
# and OpenCV scales both. Microscope and thermal images so train on white sheets, without an error.
#
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3, numpy 2.4.6, Python 3.11:
#   mean of an even ramp from black to white; expected about 127
#   grey PNG:  Pillow 254, OpenCV 127        grey TIFF:  Pillow 254, OpenCV 127
#   colour PNG: Pillow 127, OpenCV 127       colour TIFF: Pillow 127, OpenCV 127
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  pillow==13.0.0 opencv-python-headless==5.0.0.93 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

folder = Path(sys.argv[1])
grey = np.linspace(0, 65535, 2400).reshape(40, 60).astype(np.uint16)
result = {}
for name, pixels in {"grey": grey, "colour": np.dstack([grey] * 3)}.items():
    cv2.imwrite(str(folder / f"{name}.png"), pixels)
    tifffile.imwrite(folder / f"{name}.tif", pixels)
    for suffix in ("png", "tif"):
        path = str(folder / f"{name}.{suffix}")
        pillow = np.asarray(Image.open(path).convert("RGB"))
        result[name, suffix] = int(pillow.mean()), int(cv2.imread(path).mean())
for (name, suffix), means in result.items():
    print(f"mean of the {name} {suffix}: Pillow {means[0]}, OpenCV {means[1]}")
expected = {"grey": (254, 127), "colour": (127, 127)}
if any(means != expected[name] for (name, _), means in result.items()):
    sys.exit("a reader no longer behaves as described")
PY
