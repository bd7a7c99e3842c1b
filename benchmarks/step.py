"""What a training step costs: plain against bare, distilled against plain, the teacher's forms.

    python benchmarks/step.py [--repeats 5] [--classes 3 80] [--plain yolov9-t]

yolov7-tiny, batch 8, 320 px, 20 boxes per image, a batch in memory; teacher yolov7. Optimizer and
EMA at accumulation 8 are included, a loader is not; the precision is that of ``--precision auto``.
``--plain`` measures other students, without a teacher.
Everything is timed in turn in one process; the ratios are of medians. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import islice, product

import torch
from accelerate import Accelerator

from tutelage.config.schema import LossConfig, MethodConfig, OptimConfig
from tutelage.distill import Pairs, build_methods, pair
from tutelage.models.build import load
from tutelage.models.graph import GraphDetector
from tutelage.setup.build import make_accelerator, trains_in_bfloat16
from tutelage.structures import Batch, Targets
from tutelage.teachers import NativeTeacher, Teachers
from tutelage.training.ema import make_ema
from tutelage.training.loop import fit
from tutelage.training.optimizer import make_optimizer
from tutelage.training.schedule import Schedule
from tutelage.training.supervision import TeacherSupervision
from tutelage.training.task import Task

BATCH, SIZE, BOXES, ACCUMULATION = 8, 320, 20, 8


def synthetic(classes: int, seed: int = 0) -> Batch:
    """Return a uint8 batch of noise with 20 boxes per image."""
    g = torch.Generator().manual_seed(seed)
    n = BATCH * BOXES
    centre = torch.rand(n, 2, generator=g) * SIZE
    half = torch.exp(torch.rand(n, 2, generator=g) * 2.5 + 1.5)
    xyxy = torch.cat([centre - half, centre + half], 1).clamp(0, SIZE)
    targets = Targets(
        torch.arange(BATCH).repeat_interleave(BOXES),
        torch.randint(0, classes, (n,), generator=g),
        xyxy,
    )
    images = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    return Batch(images, targets, torch.arange(BATCH))


class Repeat(list):
    """A loader that hands out one batch over and over."""

    def set_epoch(self, epoch: int) -> None:
        """Accept the loop's call."""


def trainer(
    student: GraphDetector, teacher: NativeTeacher | None, pairs: Pairs | None, batch: Batch
) -> Callable[[], None]:
    """Return a function that takes one optimizer step's worth of batches (8) with ``fit``."""
    classes = len(student.names)
    methods = build_methods([MethodConfig(name="fgd")], [pairs.channels]) if pairs else {}
    criterion = student.head.criterion(LossConfig(), image_size=SIZE)
    task = Task(student, criterion, methods, None, [t.key for t in pairs.student] if pairs else ())
    ema = make_ema(student)
    accelerator = accelerator_of(student)
    prepared, optimizer = accelerator.prepare(task, make_optimizer(task, OptimConfig(lr=1e-4)))
    schedule = Schedule(
        epochs=10**6, steps=ACCUMULATION, batch=BATCH, nominal_batch=BATCH * ACCUMULATION
    )
    events = fit(
        accelerator,
        prepared,
        TeacherSupervision(Teachers([teacher], [False]), [range(classes)]) if teacher else None,
        optimizer,
        ema,
        Repeat([batch] * ACCUMULATION),
        schedule,
    )
    return lambda: [None for _ in islice(events, ACCUMULATION + 1)] and None


def accelerator_of(student: GraphDetector) -> Accelerator:
    """Return that of a run on this processor: bfloat16 where ``--precision auto`` is."""
    found, _ = make_accelerator("cpu", "auto")
    if trains_in_bfloat16(found, student, None):
        return make_accelerator("cpu", "bf16")[0]
    return found


def bare(student: GraphDetector, batch: Batch) -> Callable[[], None]:
    """Return a function that runs forward + sum().backward() eight times."""
    images = batch.floating().images

    def run() -> None:
        for _ in range(ACCUMULATION):
            student.zero_grad()
            raw = student(images).raw
            sum(level.sum() for level in raw).backward()

    student.train()
    return run


def compare(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each function, run in turn after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def make(arch: str, names: list[str]) -> GraphDetector:
    """Return a channels-last network at random weights."""
    torch.manual_seed(0)
    return load(arch, names=names).to(memory_format=torch.channels_last)


def compare_plain(arch: str, classes: int, repeats: int) -> None:
    """Measure and print plain against bare of one student."""
    names = [str(i) for i in range(classes)]
    batch = synthetic(classes)
    functions = {
        "bare": bare(make(arch, names), batch),
        "plain": trainer(make(arch, names), None, None, batch),
    }
    seconds = compare(functions, repeats)
    text = "  ".join(f"{n} {value / ACCUMULATION:.3f}" for n, value in seconds.items())
    print(f"{arch}, {classes} classes, seconds per step: {text}")
    print(f"  plain / bare                               {seconds['plain'] / seconds['bare']:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 80])
    parser.add_argument("--plain", nargs="+", default=[], metavar="ARCH")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"batch {BATCH}, {SIZE} px, {BOXES} boxes per image")
    for arch, classes in product(args.plain, args.classes):
        compare_plain(arch, classes, args.repeats)
    for classes in [] if args.plain else args.classes:
        names = [str(i) for i in range(classes)]
        batch = synthetic(classes)
        network = make("yolov7", names)
        pairs = pair(make("yolov7-tiny", names), network)
        teacher = NativeTeacher(network, [t.key for t in pairs.teacher])
        images = batch.floating().images
        seconds = compare(
            {
                "bare": bare(make("yolov7-tiny", names), batch),
                "plain": trainer(make("yolov7-tiny", names), None, None, batch),
                "distilled": trainer(make("yolov7-tiny", names), teacher, pairs, batch),
                "teacher": lambda t=teacher, x=images: [t(x) for _ in range(ACCUMULATION)] and None,
            },
            args.repeats,
        )
        step = {name: value / ACCUMULATION for name, value in seconds.items()}
        extra = (step["distilled"] - step["plain"] - step["teacher"]) / step["plain"]
        print(
            f"{classes} classes, seconds per step: "
            + "  ".join(f"{n} {v:.3f}" for n, v in step.items())
        )
        plain = step["plain"] / step["bare"]
        print(f"  plain / bare                               {plain:.3f}   (limit 1.15)")
        print(f"  (distilled − plain − teacher) / plain      {extra:.3f}   (limit 0.15)")
        print(
            f"  distilled / plain                          {step['distilled'] / step['plain']:.2f}"
        )


if __name__ == "__main__":
    main()
