#!/usr/bin/env bash
# A program that writes checkpoints and handles OSError does not handle a full disk. torch.save raises a RuntimeError
# about positions in the archive ("unexpected pos"): the writer notices that its end does not fit and puts this over
# the error of the file, which is left in __context__ if a file object was given, and is lost if a path was.
# safetensors raises an error of its own, no OSError, that has the number in its text. numpy raises the OSError.
# Which one torch raises also depends on where the disk ends: if nothing at all can be written to a file object, it
# is the OSError.
#
# Seen with torch 2.14.1, safetensors 0.8.0, numpy 2.4.6, Python 3.11, Linux; the disk by a file that takes 2,000
# bytes and raises ENOSPC, for paths by the limit of a file's size (EFBIG)
#   torch.save, file object   RuntimeError, context OSError [Errno 28]
#   torch.save, path          RuntimeError, no OSError anywhere
#   safetensors save_file     SafetensorError, "os error 27"
#   numpy.savez               OSError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import errno
import io
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ROOM = 2000
folder, weights = Path(sys.argv[1]), torch.zeros(1000)


class FullDisk(io.RawIOBase):
    def __init__(self, room):
        self.left = room

    def writable(self):
        return True

    def write(self, data):
        if len(data) > self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= len(data)
        return len(data)


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def outcome(save):
    try:
        save()
    except Exception as error:
        inside = [e.errno for e in chain(error) if isinstance(e, OSError)]
        print(f"{type(error).__name__}: {str(error).splitlines()[0][:80]} | OSErrors in it: {inside}")
        return type(error).__name__, bool(inside)
    return "saved", False


signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
seen = [
    outcome(lambda: torch.save({"w": weights}, FullDisk(ROOM))),
    outcome(lambda: torch.save({"w": weights}, FullDisk(0))),
    outcome(lambda: torch.save({"w": weights}, folder / "checkpoint.pt")),
    outcome(lambda: save_file({"w": weights}, folder / "weights.safetensors")),
    outcome(lambda: np.savez(folder / "arrays.npz", w=weights.numpy())),
]
expected = [
    ("RuntimeError", True),
    ("OSError", True),
    ("RuntimeError", False),
    ("SafetensorError", False),
    ("OSError", True),
]
sys.exit(seen != expected)
PY
