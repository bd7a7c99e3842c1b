#!/usr/bin/env bash
# cv2.utils.logging.setLogLevel(SILENT), or OPENCV_LOG_LEVEL=SILENT, silences what OpenCV says and not what the
# FFmpeg inside it says: for a film that cannot be opened, lines go to stderr past Python and its logging.
# A detector that walks through a folder of films gets them between its progress bar and its own messages (or
# in a log that is read line by line as JSON). Only OPENCV_FFMPEG_LOGLEVEL=-8 helps, and only where it is set
# before the first film is opened: after that it is ignored.
#
# Seen with opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11; stderr of VideoCapture for a text file
# named .mp4, and of imread for a file that does not exist; expected "silent" for VideoCapture in all lines but
# the first
#                                             VideoCapture  imread
#   nothing set                               speaks        speaks
#   setLogLevel(SILENT)                       speaks        silent
#   OPENCV_LOG_LEVEL=SILENT                   speaks        silent
#   OPENCV_FFMPEG_LOGLEVEL=-8                 silent        speaks
#   OPENCV_FFMPEG_LOGLEVEL=-8, after a film   speaks        speaks
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check \
  opencv-python-headless==5.0.0.93 numpy==2.4.6
cat >"$folder/open.py" <<'PY'
import os
import sys

import cv2

how, what, path = sys.argv[1:]
if "setLogLevel" in how:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
if "after a film" in how:
    cv2.VideoCapture(path)
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
print("from here", file=sys.stderr, flush=True)
if what == "VideoCapture":
    assert not cv2.VideoCapture(path).isOpened()
else:
    assert cv2.imread(f"{path}.png") is None
PY
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import os
import subprocess
import sys
from pathlib import Path

CASES = {
    "nothing set": ({}, ("speaks", "speaks")),
    "setLogLevel(SILENT)": ({}, ("speaks", "silent")),
    "OPENCV_LOG_LEVEL=SILENT": ({"OPENCV_LOG_LEVEL": "SILENT"}, ("speaks", "silent")),
    "OPENCV_FFMPEG_LOGLEVEL=-8": ({"OPENCV_FFMPEG_LOGLEVEL": "-8"}, ("silent", "speaks")),
    "OPENCV_FFMPEG_LOGLEVEL=-8, after a film": ({}, ("speaks", "speaks")),
}
folder = Path(sys.argv[1])
film = folder / "film.mp4"
film.write_text("not a film\n" * 50)
plain = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
failed = False
for how, (settings, expected) in CASES.items():
    found = []
    for what in ("VideoCapture", "imread"):
        command = [sys.executable, str(folder / "open.py"), how, what, str(film)]
        done = subprocess.run(command, env={**plain, **settings}, check=True, capture_output=True, text=True)
        found.append("speaks" if done.stderr.partition("from here\n")[2] else "silent")
    print(f"{how}: VideoCapture {found[0]}, imread {found[1]}")
    failed |= tuple(found) != expected
if failed:
    sys.exit("OpenCV no longer behaves as described")
PY
