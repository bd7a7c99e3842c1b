"""What each method adds to a training step: its forward and backward pass at the taps.

    python benchmarks/methods.py [--repeats 5] [--classes 3]

yolov7-tiny student, yolov7 teacher, batch 8, 320 px, 20 boxes per image. A method is given the
features and predictions of both networks; its gradient is taken with respect to the student's
features, raw outputs and its own parameters. Below that, a distilled step costs what a plain one
does. Shares are of a plain step in the same process: medians, in turn. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from step import SIZE, compare, make, synthetic

from tutelage.config.schema import LossConfig, MethodConfig
from tutelage.distill import METHODS, build_methods, pair
from tutelage.structures import Batch, Knowledge
from tutelage.teachers import NativeTeacher
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task

LIMIT = 0.15
DEARER = ("mgd", "crosskd", "frs", "defeat")  # their own convolutions: measured, not limited


def taught(
    task: Task, name: str, batch: Batch, known: Knowledge, size: tuple[int, int]
) -> Callable[[], None]:
    """Return a function that compares and takes the gradient at the student's outputs."""
    with torch.no_grad():
        out = task.student.train()(batch.images, task.taps)
    leaves = [x.clone().requires_grad_() for x in (*out.taps, *(out.raw or ()))]
    taps, raw = tuple(leaves[: len(out.taps)]), tuple(leaves[len(out.taps) :])
    method = task.methods[name]
    asked = [*leaves, *method.parameters()]

    def run() -> None:
        student = task.knowledge(out._replace(raw=raw, taps=taps), size)
        total = torch.stack(list(method(student, known, batch.targets, size).values())).sum()
        torch.autograd.grad(total, asked, allow_unused=True)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--classes", type=int, default=3)
    args = parser.parse_args()
    names = [str(i) for i in range(args.classes)]
    batch, size = synthetic(args.classes).floating(), (SIZE, SIZE)
    student, network = make("yolov7-tiny", names), make("yolov7", names)
    pairs = pair(student, network)
    teacher = NativeTeacher(network, [tap.key for tap in pairs.teacher])
    known = teacher(batch.images, predictions=True)
    criterion = student.head.criterion(LossConfig(), image_size=SIZE)
    names_measured = [name for name in METHODS if name != "ld"]  # needs distributions over bins
    configs = [MethodConfig(name=name) for name in names_measured]
    methods = build_methods(configs, [pairs.channels] * len(names_measured))
    task = Task(student, criterion, methods, None, [tap.key for tap in pairs.student])

    def plain() -> None:
        task.zero_grad()
        sum(task(SupervisedBatch(batch)).detection.values()).backward()

    functions: dict[str, Callable[[], None]] = {
        "plain": plain,
        "teacher": lambda: teacher(batch.images) and None,
        "teacher, whole": lambda: teacher(batch.images, predictions=True) and None,
    }
    functions |= {name: taught(task, name, batch, known, size) for name in names_measured}
    seconds = compare(functions, args.repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.classes} classes")
    for name, value in seconds.items():
        share = value / seconds["plain"]
        limit = "" if name not in METHODS or name in DEARER else f"   (limit {LIMIT})"
        print(f"{name:<16} {1000 * value:8.1f} ms   {share:6.3f} of a plain step{limit}")


if __name__ == "__main__":
    main()
