"""What a training step costs in two builds of this package, in turn in one run.

    python benchmarks/two_builds.py OTHER_CHECKOUT [--rounds 12] [--kinds plain]

Each build runs in a process of its own, which loads ``src`` and ``benchmarks/step.py`` of its own
checkout and takes one optimizer step (8 batches) when it is asked to. The builds take turns, the
first of a round changes, and the ratio is the median over the rounds. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

KINDS = ["plain", "distilled"]

WORKER = """
import sys, torch
sys.path.insert(0, "benchmarks")
import step
from tutelage.distill import pair
from tutelage.teachers import NativeTeacher
names = ["0", "1", "2"]
batch, network = step.synthetic(3), step.make("yolov7", names)
pairs = pair(step.make("yolov7-tiny", names), network)
teacher = NativeTeacher(network, [tap.key for tap in pairs.teacher])
runs = {
    "plain": step.trainer(step.make("yolov7-tiny", names), None, pairs, batch),
    "distilled": step.trainer(step.make("yolov7-tiny", names), teacher, pairs, batch),
}
for line in sys.stdin:
    runs[line.strip()]()
    print("done", flush=True)
"""


class Build:
    """A process that takes steps with one checkout."""

    def __init__(self, checkout: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, kind: str) -> float:
        """Return the seconds of one optimizer step; the other build waits."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        start = time.perf_counter()
        self.process.stdin.write(f"{kind}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise SystemExit("a build failed; its traceback stands above")
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    args = parser.parse_args()
    here = Path(__file__).resolve().parent.parent
    builds = {"this": Build(here), "other": Build(args.other.resolve())}
    for kind in args.kinds:
        times: dict[str, list[float]] = {name: [] for name in builds}
        for number in range(args.rounds + 1):
            order = list(builds) if number % 2 else list(builds)[::-1]
            for name in order:
                seconds = builds[name].seconds(kind)
                if number:  # the first round warms up
                    times[name].append(seconds)
        ratios = [a / b for a, b in zip(times["this"], times["other"], strict=True)]
        listed = "  ".join(f"{name} {statistics.median(t):.3f} s" for name, t in times.items())
        low, high = min(ratios), max(ratios)
        print(
            f"{kind}: {listed}  this / other {statistics.median(ratios):.3f} ({low:.2f}…{high:.2f})"
        )
    for build in builds.values():
        build.process.kill()


if __name__ == "__main__":
    main()
