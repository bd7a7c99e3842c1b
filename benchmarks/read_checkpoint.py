"""Time and peak memory of reading a 150 MB checkpoint safely, against torch.load.

    python benchmarks/read_checkpoint.py [--rounds 7] [--file yolov7x.pt]

Without a file a yolov7x in half precision is written as the published code writes it (143 MB).
Every reading has a process of its own, in turns; the seconds are those of the first reading there,
with the file in the page cache, and the memory is what the process grew by at its largest.
torch.load runs the pickle and checks no sums; ours runs nothing, checks the sums and looks for NaN.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

FORMS = ("torch.load", "tutelage")
GOAL = 1.2


def stand_ins() -> Any:
    """Return the classes that torch.load looks for, and the model without weights."""
    import torch
    from tests.weights.publishing import Wardrobe, published

    from tutelage.models import build

    names = [str(number) for number in range(80)]
    with torch.device("meta"):
        detector = build("yolov7x", names)
    wardrobe = Wardrobe()
    published(detector, wardrobe)
    return wardrobe


def write(path: Path) -> None:
    """Write the checkpoint."""
    from tests.weights.publishing import publish

    from tutelage.models import build

    publish(build("yolov7x", [str(number) for number in range(80)]), path)


def read(form: str, path: Path, queue: multiprocessing.Queue) -> None:
    """Read the file once and report seconds and MiB."""
    import torch

    from tutelage.weights import read_foreign

    wardrobe = stand_ins()
    gc.collect()  # a full collection takes as long as half a reading, and would meet one by chance
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with wardrobe.open():
        started = time.perf_counter()
        if form == "torch.load":
            held = torch.load(path, map_location="cpu", weights_only=False)
        else:
            held = read_foreign(path)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del held
    queue.put((seconds, (peak - before) / 1024))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")  # a child's peak begins with its parent's
        path = given.file or Path(folder) / "yolov7x.pt"
        if given.file is None:
            process = context.Process(target=write, args=(path,))
            process.start()
            process.join()
        found: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
        for _ in range(given.rounds):
            for form in FORMS:
                queue = context.Queue()
                process = context.Process(target=read, args=(form, path, queue))
                process.start()
                found[form].append(queue.get())
                process.join()
        size = path.stat().st_size / 1e6
    print(
        f"{size:.0f} MB, median (fastest) of {given.rounds} readings, each in a process of its own"
    )
    medians = {}
    for form, readings in found.items():
        seconds, memory = zip(*readings, strict=True)
        medians[form] = statistics.median(seconds), statistics.median(memory), min(seconds)
        middle, peak, best = medians[form]
        print(f"{form:<12} {middle:.2f} s ({best:.2f})   {peak:.0f} MiB")
    ratios = [mine / theirs for theirs, mine in zip(*medians.values(), strict=True)]
    print(
        f"tutelage / torch.load: time {ratios[0]:.2f} ({ratios[2]:.2f}), memory {ratios[1]:.2f} "
        f"(goal {GOAL})"
    )


if __name__ == "__main__":
    main()
