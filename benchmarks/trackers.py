"""What trackers and the live bar cost per training step, against ``--quiet``.

    python benchmarks/trackers.py [--minutes 4] [--track tensorboard --track mlflow]

One run on the built-in digits, without loader processes. Blocks of ten seconds are shown and
tracked, or nothing sees their steps, in turn; neighbouring blocks are compared. The time of a step
is that between two of them, with what trackers do meanwhile in their threads; steps beside the end
of an epoch are left out. On a busy machine that varies by more than it shows; so the processor time
of what is done for display and trackers, in this thread and in theirs, is taken by itself, too, as
a share of the other processor time of the process. Without ``--track``: all trackers that are
installed; W&B offline.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import statistics
import tempfile
import threading
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "offline")

from rich.console import Console

from tutelage.config.load import load_config
from tutelage.display.console import LiveDisplay
from tutelage.run.events import Planned, StepDone
from tutelage.run.run import run_training
from tutelage.trackers.backends import CLASSES, make_trackers
from tutelage.trackers.follow import Tracking

BLOCK = 10.0  # seconds
DRAWS = 5000


def settings(project: str) -> dict:
    """Return a run that is longer than the measurement, and says nothing between its steps."""
    values = {
        "data": "digits",
        "model.arch": "yolov7-tiny@0.25",
        "train.epochs": 10_000,
        "train.batch": 8,
        "train.image_size": 160,
        "train.device": "cpu",
        "train.workers": 0,
        "train.threads": 1,
        "train.validate_runs": False,
        "run.project": project,
    }
    return {key: (value, "benchmark") for key, value in values.items()}


class Block:
    """Steps that are tracked, or not."""

    def __init__(self, tracked: bool) -> None:
        self.tracked, self.steps, self.wall, self.shown = tracked, 0, 0.0, 0.0
        self.began, self._process, self._threads = time.perf_counter(), *clocks()
        self.process = self.threads = 0.0

    def end(self) -> None:
        """Read the clocks of the processor."""
        process, threads = clocks()
        self.process, self.threads = process - self._process, threads - self._threads

    def shares(self) -> tuple[float, float]:
        """Processor time of this thread and of the trackers' for them, over the rest."""
        rest = self.process - self.shown - self.threads
        return self.shown / rest, self.threads / rest


def clocks() -> tuple[float, float]:
    """Return the processor time of the process, and of its other Python threads."""
    main = threading.main_thread()
    others = [each.ident for each in threading.enumerate() if each is not main]
    threads = sum(time.clock_gettime(time.pthread_getcpuclockid(each)) for each in others if each)
    return time.process_time(), threads


def measure(minutes: float, names: list[str]) -> list[Block]:
    """Return the blocks of a run."""
    resolved = load_config(flags=settings("runs"))
    display = LiveDisplay(Console(file=io.StringIO(), force_terminal=True, width=100))
    tracking, last, blocks, end = None, None, [Block(False)], time.monotonic() + 60 * minutes
    for event in run_training(resolved.config, origins=resolved.origins):
        if isinstance(event, Planned):
            tracking = Tracking(make_trackers(names), Path(event.folder))
            tracking.wait(120)
            display.show(event)
            blocks = [Block(False)]
        block = blocks[-1]
        if not isinstance(event, StepDone) or tracking is None:
            last = None
            if tracking and block.tracked:
                display.show(event)
                tracking.follow(event)
            continue
        if last is not None:
            block.wall, block.steps = block.wall + time.perf_counter() - last, block.steps + 1
        last = time.perf_counter()
        if block.tracked:
            begun = time.thread_time()
            display.show(event)
            tracking.follow(event)
            block.shown += time.thread_time() - begun
        if time.perf_counter() - block.began > BLOCK:
            while any(calls.counts().waiting for calls in tracking._calls.values()):
                time.sleep(0.01)
            block.end()
            blocks.append(Block(not block.tracked))
            last = None
            if time.monotonic() > end and not block.tracked:
                break
    display.close()
    tracking.stop("finished")
    return blocks[:-1]


def ratio(blocks: list[Block]) -> str:
    """Return the median over pairs of blocks of their ratio, with a 95 % bootstrap interval."""
    per_step = [(block.tracked, block.wall / block.steps) for block in blocks]
    ratios = []
    for (first, a), (_, b) in pairwise(per_step):
        ratios.append(a / b if first else b / a)
    draws = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    low, high = draws[int(0.025 * DRAWS)], draws[int(0.975 * DRAWS)]
    return f"{statistics.median(ratios):.4f} ({low:.4f} to {high:.4f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--track", action="append")
    given = parser.parse_args()
    names = given.track or [name for name in CLASSES if find_spec(name) is not None]
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        blocks = measure(given.minutes, names)
        os.chdir("/")
    steps = sum(block.steps for block in blocks)
    quiet = [block.wall / block.steps for block in blocks if not block.tracked]
    print(f"{', '.join(names)} and the live bar; {steps} steps in {len(blocks)} blocks")
    print(f"a step without them: {1000 * statistics.median(quiet):.1f} ms")
    print(f"time of a step with them / without: {ratio(blocks)}")
    shares = zip(*(block.shares() for block in blocks if block.tracked), strict=True)
    bar, threads = (100 * statistics.mean(each) for each in shares)
    print(f"processor time over that of the steps: {bar + threads:.2f} %", end=" ")
    print(f"({bar:.2f} % in the thread of the run, {threads:.2f} % in those of the trackers)")
    tracked = [block for block in blocks if block.tracked]
    spent = sum(block.shown + block.threads for block in tracked)
    print(
        f"the same over the time of the steps: {100 * spent / sum(b.wall for b in tracked):.2f} %"
    )


if __name__ == "__main__":
    main()
