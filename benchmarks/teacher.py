"""What stopping early and fusing save: the yolov7 teacher's forward pass in four forms.

    python benchmarks/teacher.py [--repeats 5]

Batch 8, 320 px. Forms: whole graph, stopped at the last tap, also fused, also channels-last (the
form that distillation uses). Timed in turn in one process; ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from tutelage.models.build import load

TAPS = ("75", "88", "101")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=320)
    args = parser.parse_args()
    torch.manual_seed(0)
    plain = load("yolov7", names=["a", "b", "c"]).eval()
    fused = plain.fused().eval()
    last = plain.fused().eval().to(memory_format=torch.channels_last)
    images = torch.rand(args.batch, 3, args.size, args.size)
    lasting = images.contiguous(memory_format=torch.channels_last)
    forms = {
        "whole graph": lambda: plain(images),
        "early exit": lambda: plain(images, TAPS, head=False),
        "early exit, fused": lambda: fused(images, TAPS, head=False),
        "early exit, fused, channels-last": lambda: last(lasting, TAPS, head=False),
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    with torch.no_grad():
        for repeat in range(args.repeats + 1):
            for name, forward in forms.items():
                start = time.perf_counter()
                forward()
                if repeat:
                    times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"batch {args.batch}, {args.size} px")
    for name, seconds in medians.items():
        print(f"{name:<34} {seconds:.3f} s   {seconds / medians['whole graph']:.2f}")


if __name__ == "__main__":
    main()
