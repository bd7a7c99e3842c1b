"""Does the memory of a long distilled run stay flat?

    python benchmarks/soak.py --minutes 30 --limit-gib 3

Trains on the built-in digits with the demo's teacher, FGD and BCKD, two loader processes and
mid-epoch saves, watches the memory of all its processes (Linux: proportional set size), ends the
run by SIGTERM after the time, and prints the median of each fifth of the time after the first five
minutes. Exit code 1 if the run dies, passes the limit, or the last fifth needs over 2 % more than
the first.
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tutelage.demo import shipped_teacher

SETTLING = 300  # seconds
EVERY = 5.0
GROWTH = 1.02


def memory(pid: int) -> float:
    """Return the memory of a process and of those that it started, in MiB."""
    total = 0.0
    for process in [pid, *children(pid)]:
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue  # ended meanwhile
        total += sum(int(kib) for kib in re.findall(r"^Pss: +(\d+) kB", text, re.M)) / 1024
    return total


def children(pid: int) -> list[int]:
    """Return the processes that a process started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        found += [one for child in own for one in (child, *children(child))]
    return found


def main() -> None:
    """Train, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--limit-gib", type=float, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tutelage", "train", "--data", "digits"]
        command += ["--cfg", "yolov7-tiny@0.25", "--img-size", "128", "--batch-size", "8"]
        command += ["--epochs", "100000", "--patience", "0", "--workers", "2", "--project", folder]
        command += ["--method", "fgd", "--method", "bckd", "--set", "train.save_minutes=0.5"]
        command += ["--set", "train.threads=1", "--teacher-weights", str(shipped_teacher())]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        began, seen = time.monotonic(), list[tuple[float, float]]()
        while (passed := time.monotonic() - began) < 60 * given.minutes:
            if process.poll() is not None:
                raise SystemExit(f"The run ended by itself: {process.communicate()[1].decode()}")
            seen.append((passed, memory(process.pid)))
            if seen[-1][1] > 1024 * given.limit_gib:
                process.kill()
                raise SystemExit(f"{seen[-1][1]:.0f} MiB after {passed:.0f} s: over the limit.")
            time.sleep(EVERY)
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1].decode()
    print(told.strip())
    later = [mib for passed, mib in seen if passed >= SETTLING]
    size = len(later) // 5
    fifths = [statistics.median(later[i * size : (i + 1) * size]) for i in range(5)]
    print(f"most {max(mib for _, mib in seen):.0f} MiB; after five minutes, by fifths of the time:")
    print("  ".join(f"{mib:.0f}" for mib in fifths), "MiB")
    if "saved" not in told or fifths[-1] > GROWTH * fifths[0]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
