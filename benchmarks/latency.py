"""Latency of exported models of all families beside one another, all in turn in one process.

    python benchmarks/latency.py FOLDER [--models yolov7-tiny yolox-nano] [--size 640] [--threads 2]

Random weights and 80 classes, ONNX files in ONNX Runtime, one image at a time: decoding is
included, suppression is not. FOLDER keeps the files; those that are there are not written again.
Ratios are of medians over rounds in which each model takes its turn, the first model being 1.
Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from tutelage.deploy.export import export
from tutelage.deploy.runtime import open_model, read_metadata
from tutelage.models import build

PAUSE = 0.3  # seconds in which the threads of the last model stop waiting for work
MODELS = ("yolov7-tiny", "yolox-tiny", "yolov9-t", "yolox-nano")
NAMES = [str(number) for number in range(80)]


def exported(name: str, size: int, folder: Path) -> Path:
    """Return the ONNX file of an architecture; write it unless it is there."""
    path = folder / f"{name}-{size}.onnx"
    if not path.exists():
        torch.manual_seed(0)
        export(build(name, NAMES).eval(), "onnx", out=path, img_size=size)
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    files = {name: exported(name, args.size, args.folder) for name in args.models}
    networks = {name: open_model(path, "cpu").network for name, path in files.items()}
    images = torch.rand(1, 3, args.size, args.size)
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(args.rounds):
        for name, network in networks.items():
            time.sleep(PAUSE)
            network(images)  # not timed: the caches are the last one's
            start = time.perf_counter()
            network(images)
            times[name].append(1e3 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = medians[args.models[0]]
    print(f"{args.threads} threads, one image of {args.size} px, {args.rounds} rounds")
    print(f"{'model':<14} parameters  GFLOPs      ms  ratio  ms / GFLOP")
    for name, median in medians.items():
        size = read_metadata(files[name])
        print(
            f"{name:<14} {size.parameters / 1e6:8.2f} M {size.gflops:7.1f} {median:7.1f}"
            f"  {median / first:5.2f}  {median / size.gflops:10.2f}"
        )


if __name__ == "__main__":
    main()
