"""What a report costs: seconds and memory of a new process, for one run and for four.

    python benchmarks/report.py [--repeats 3]

Four short runs on the built-in digits (300 test images), two with a teacher. ``first``: the
detections on the test images are not stored yet; ``again``: they are. ``import``: the process
without a report. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TEACHER = Path(__file__).parent.parent / "src/tutelage/demo_teacher.safetensors"
CONFIG = Path(__file__).parent / "digits.yaml"
CHILD = """
import json, resource, sys, time
began = time.perf_counter()
from tutelage.reports import write_report
ready = time.perf_counter()
if sys.argv[1:]:
    write_report(sys.argv[2:], sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - began, ready - began, peak]))
"""


def main() -> None:
    """Train the runs, write reports, print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        runs = [train(Path(folder), number) for number in range(4)]
        page = str(Path(folder) / "report.html")
        print(f"{'':8}  seconds  (import)   MiB")
        for name, chosen, stored in (
            ("import", [], True),
            ("one", runs[-1:], True),
            ("first", runs, False),
            ("again", runs, True),
        ):
            measured = []
            for _ in range(repeats):
                if not stored:
                    for file in Path(folder).glob("*/*.npz"):
                        file.unlink()
                measured.append(child(page, chosen))
            seconds, ready, peak = (statistics.median(each) for each in zip(*measured, strict=True))
            print(f"{name:8}  {seconds:7.1f}  {ready:8.1f}  {peak:5.0f}")
        print(f"page of four runs: {Path(page).stat().st_size / 1e6:.2f} MB")


def train(folder: Path, number: int) -> str:
    """Train one epoch; the last two runs have a teacher."""
    name = f"run-{number}"
    command = [sys.executable, "-m", "tutelage", "train", "--config", str(CONFIG), "--quiet"]
    command += ["--epochs", "1", "--seed", str(number % 2), "--project", str(folder)]
    command += ["--name", name, "--set", "run.report=false"]
    if number > 1:
        command += ["--teacher-weights", str(TEACHER), "--method", "fgd"]
    subprocess.run(command, check=True)
    return str(folder / name)


def child(page: str, runs: list[str]) -> list[float]:
    """Return seconds, those of the import, and the peak of memory in MiB, of a new process."""
    command = [sys.executable, "-c", CHILD, *([page, *runs] if runs else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
