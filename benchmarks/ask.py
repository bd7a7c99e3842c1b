"""What it costs to ask a teacher: every runtime against float32 torch, and what it changes.

    python benchmarks/ask.py [--runtimes torch bf16 openvino] [--repeats 7]

Time: yolov7 at random weights, 320 px, batch 8, head included; all runtimes in turn in one process,
medians. Difference: the teacher of the demo on digit scenes of 128 px: the largest difference of a
score (class times objectness), and the largest relative one of a map. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.util import find_spec

import torch

from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader
from tutelage.demo import HEAD_INPUTS, shipped_teacher
from tutelage.models.build import load
from tutelage.run.preflight.teacher_runtime import difference
from tutelage.teachers import NativeTeacher
from tutelage.teachers.runtimes import make_forward

RUNTIMES = ("torch", "bf16", "compile", "openvino", "openvino-int8")
SCENES = 6  # batches


def by(teacher: NativeTeacher, runtime: str, images: list[torch.Tensor]) -> NativeTeacher:
    """Return the teacher run another way, prepared for these images."""
    way, start = teacher.reference(), time.perf_counter()
    forward = make_forward(runtime, teacher.network, batch=len(images[0]), samples=images)
    way.run_by(runtime, forward)
    way(images[0], predictions=True)
    print(f"  {teacher.title} by {runtime}: {time.perf_counter() - start:.1f} s to prepare")
    return way


def scenes() -> list[torch.Tensor]:
    """Return training batches of the built-in digits, augmented as in the demo."""
    index, _ = open_splits("digits", "train", "val")
    augment = AugmentConfig(mosaic=0, mixup=0, fliplr=0, scale=0.3)
    loader = training_loader(
        index, image_size=128, batch=8, augment=augment, seed=0, workers=0, cache=False, cache_gib=1
    )
    loader.batch_sampler.set_epoch(0)
    return [batch.floating().images for batch, _ in zip(loader, range(SCENES), strict=False)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES), choices=RUNTIMES)
    args = parser.parse_args()
    runtimes = [r for r in args.runtimes if find_spec("openvino") or "openvino" not in r]
    torch.manual_seed(0)
    large = NativeTeacher(load("yolov7", names=[str(number) for number in range(80)]))
    images = torch.rand(args.batch, 3, args.size, args.size)
    images = images.contiguous(memory_format=torch.channels_last)
    demo, real = NativeTeacher(load(shipped_teacher()), HEAD_INPUTS), scenes()
    small = {runtime: by(demo, runtime, real) for runtime in runtimes}
    ways = {runtime: by(large, runtime, [images]) for runtime in runtimes}
    times: dict[str, dict[str, list[float]]] = {"yolov7": {}, "demo": {}}
    for _ in range(args.repeats):
        for name, group, batch in (("yolov7", ways, images), ("demo", small, real[0])):
            for runtime, way in group.items():
                start = time.perf_counter()
                way(batch, predictions=True)
                times[name].setdefault(runtime, []).append(time.perf_counter() - start)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, title in (
        ("yolov7", f"yolov7, {args.batch} × {args.size} px"),
        ("demo", "demo, 8 × 128 px"),
    ):
        medians = {runtime: statistics.median(each) for runtime, each in times[name].items()}
        base = medians.get("torch", float("nan"))
        for runtime, seconds in medians.items():
            print(f"{title:<20} {runtime:<14} {1e3 * seconds:8.1f} ms   {seconds / base:.2f}")
    for runtime, way in small.items():
        apart = difference(way, real)
        print(f"{runtime:<14} scores ± {apart.scores:.4f}   features {100 * apart.features:.3f} %")


if __name__ == "__main__":
    main()
