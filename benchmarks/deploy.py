"""What folding and other runtimes gain: latency of one image, all in turn in one process.

    python benchmarks/deploy.py [--models yolov7-tiny yolov5s] [--size 640] [--threads 2]

Per model, with random weights: torch as trained (BatchNorm, RepConv branches) and folded, both
channels-last; ONNX Runtime and OpenVINO on the export. Decoding is included, suppression is not.
Ratios are of medians over rounds in which each form takes its turn. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from tutelage.deploy.export import export
from tutelage.deploy.runtime import open_model
from tutelage.evaluation.predictor import predictor
from tutelage.models import build
from tutelage.models.graph import GraphDetector

PAUSE = 0.3  # seconds in which the threads of the last runtime stop waiting for work
NAMES = [str(number) for number in range(80)]


def forms(detector: GraphDetector, size: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    images = torch.rand(1, 3, size, size).to(memory_format=torch.channels_last)
    plain = predictor(detector.eval().to(memory_format=torch.channels_last))
    folded = predictor(detector.fused())
    photo = folder / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    cv2.imwrite(str(photo), noise)
    path = export(detector, "onnx", out=folder, images=photo, img_size=size).path
    onnx, openvino = open_model(path, "cpu"), open_model(path, "cpu", openvino=True)
    return {
        "torch": lambda: plain(images),
        "torch, folded": lambda: folded(images),
        "ONNX Runtime": lambda: onnx.network(images),
        "OpenVINO": lambda: openvino.network(images),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["yolov7-tiny", "yolov7", "yolov5s"])
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, one image of {args.size} px; ms, and share of torch's time")
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            steps = forms(build(name, NAMES), args.size, Path(folder))
            times: dict[str, list[float]] = {each: [] for each in steps}
            for _ in range(args.repeats):
                for each, step in steps.items():
                    time.sleep(PAUSE)
                    step()  # not timed: the caches are the last one's
                    start = time.perf_counter()
                    step()
                    times[each].append(1e3 * (time.perf_counter() - start))
        medians = {each: statistics.median(values) for each, values in times.items()}
        for each, median in medians.items():
            print(f"{name:<12} {each:<14} {median:8.1f}  {median / medians['torch']:.2f}")


if __name__ == "__main__":
    main()
