#!/usr/bin/env bash
# A reader that goes away (`train | head`) is a BrokenPipeError for print, which a careful program catches, and
# a note on stderr for logging, which does not end a program. rich turns it into SystemExit(1): neither "except
# BrokenPipeError" nor "except Exception" sees it, and RichHandler, a handler of logging, ends the run too. The
# training stops between two lines of its log, without a message and without weights.
# (Console.on_broken_pipe can be overridden, and RichHandler takes a console.)
#
# Seen with rich 15.0.0, Python 3.11; a loop writes a line for each epoch in a try: that catches every Exception,
# and saves at its end; the reader leaves after the first line; expected "saved, exit 0" everywhere
#   print                   saved, exit 0
#   logging.StreamHandler   saved, exit 0
#   rich Console.print      not saved, exit 1
#   rich RichHandler        not saved, exit 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check \
  rich==15.0.0 markdown-it-py==4.3.0 mdurl==0.1.2 pygments==2.21.0
cat >"$folder/train.py" <<'PY'
import logging
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

writer, weights = sys.argv[1], Path(sys.argv[2])


def by_logging(handler):
    log = logging.getLogger("train")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return log.info


WRITERS = {
    "print": lambda: lambda line: print(line, flush=True),
    "logging.StreamHandler": lambda: by_logging(logging.StreamHandler(sys.stdout)),
    "rich Console.print": lambda: Console().print,
    "rich RichHandler": lambda: by_logging(RichHandler()),
}
write = WRITERS[writer]()
for epoch in range(3):
    try:
        write(f"epoch {epoch}")
    except Exception:  # BrokenPipeError is one
        pass
    if epoch == 0:
        sys.stdin.readline()  # until the reader has left
weights.write_text("weights")
os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # as Python's manual says, for its last flush
PY
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import subprocess
import sys
from pathlib import Path

EXPECTED = {
    "print": "saved, exit 0",
    "logging.StreamHandler": "saved, exit 0",
    "rich Console.print": "not saved, exit 1",
    "rich RichHandler": "not saved, exit 1",
}
folder = Path(sys.argv[1])
result = {}
for writer in EXPECTED:
    weights = folder / "weights"
    weights.unlink(missing_ok=True)
    command = [sys.executable, str(folder / "train.py"), writer, str(weights)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        if "epoch 0" not in process.stdout.readline():
            sys.exit(f"{writer}: no first line")
        process.stdout.close()
        process.stdin.write("go on\n")
        process.stdin.close()
        code = process.wait(60)
    result[writer] = f"{'saved' if weights.exists() else 'not saved'}, exit {code}"
    print(f"{writer}: {result[writer]}")
if result != EXPECTED:
    sys.exit("a writer no longer behaves as described")
PY
