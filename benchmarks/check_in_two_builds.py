"""What ``check`` costs in two builds of this package, in turn in one run, and the index's memory.

    python benchmarks/check_in_two_builds.py OTHER_CHECKOUT [--images 20000] [--rounds 3]

Each check is a process with a cache of its own, so that all images and labels are read. The builds
take turns, the first of a round changes, and the ratio is the median over the rounds. Quiet
machine, run twice.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from large_index import make

INDEX = """
import sys
from tutelage.data import open_splits
[index] = open_splits(sys.argv[1], "train")
columns = vars(index).values()
print(sum(c.nbytes for c in columns if hasattr(c, "nbytes")))
"""


def run(checkout: Path, arguments: list[str], folder: Path) -> tuple[float, str]:
    """Return the seconds and the output of a command of a build."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        env = {**os.environ, "PYTHONPATH": str(checkout / "src"), "TUTELAGE_CACHE": cache}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
        )
    return time.perf_counter() - began, done.stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    builds = {"this": Path(__file__).parents[1], "other": given.other.resolve()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = str(make(folder / "set", given.images))
        check = ["-m", "tutelage", "check", data, "--split", "train"]
        ratios = []
        for number in range(given.rounds):
            order = list(builds)[:: -1 if number % 2 else 1]
            took = {name: run(builds[name], check, folder)[0] for name in order}
            ratios.append(took["this"] / took["other"])
            print({name: round(seconds, 1) for name, seconds in took.items()}, flush=True)
        print(f"check of {given.images:,} images: this / other {statistics.median(ratios):.3f}")
        for name, checkout in builds.items():
            print(f"index of {name}: {int(run(checkout, ['-c', INDEX, data], folder)[1]):,} bytes")


if __name__ == "__main__":
    main()
