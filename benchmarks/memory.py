"""Peak memory of a distilled run against a plain one.

    python benchmarks/memory.py

Each form runs a few steps in a process of its own (yolov7-tiny, batch 8, 320 px; teacher yolov7);
the figure is that process's largest resident set.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from pathlib import Path

STEPS = 2  # optimizer steps of eight batches


def measure(form: str, queue: multiprocessing.Queue) -> None:
    """Run ``form`` and report the peak in MiB."""
    sys.path.insert(0, str(Path(__file__).parent))
    from step import make, pair, synthetic, trainer

    from tutelage.teachers import NativeTeacher

    names = ["a", "b", "c"]
    student, batch = make("yolov7-tiny", names), synthetic(3)
    if form == "plain":
        run = trainer(student, None, None, batch)
    else:
        network = make("yolov7", names)
        pairs = pair(student, network)
        teacher = NativeTeacher(network, [t.key for t in pairs.teacher])
        del network
        run = trainer(student, teacher, pairs, batch)
    for _ in range(STEPS):
        run()
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for form in ("plain", "distilled"):
        queue = context.Queue()
        process = context.Process(target=measure, args=(form, queue))
        process.start()
        peaks[form] = queue.get()
        process.join()
        print(f"{form:<10} {peaks[form]:.0f} MiB")
    print(f"distilled / plain  {peaks['distilled'] / peaks['plain']:.2f}")


if __name__ == "__main__":
    main()
