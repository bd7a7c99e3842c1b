"""What a distilled run costs beside a plain one, with the teacher's answers stored and without.

    python benchmarks/stored_teaching.py [--steps 24] [--image-size 320] [--methods bckd cwd]

yolov7 teaches yolov7-tiny, batch 8, on the built-in digit scenes with YOLOv7's augmentation, loader
included; random weights, which cost what trained ones do. The runs take their steps in turn in one
process: a plain one, and one per method, first asking the teacher in every step, then with its
answers stored. These, and the weighing of the methods, are weighed for runs of 40 and 100 epochs
with the default number of views. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from tutelage.comparison.timing import paired_ratio, step_times
from tutelage.config.schema import Config
from tutelage.models.build import load
from tutelage.run.kd_weights import WeightMeasurements
from tutelage.setup.build import RunParts, build_run
from tutelage.setup.views import auto_views
from tutelage.training.schedule import Position
from tutelage.weights.store import save_best

EPOCHS = (40, 100)


def write_teacher(path: Path) -> str:
    """Write a yolov7 at random weights."""
    torch.manual_seed(0)
    network = load("yolov7", names=[str(digit) for digit in range(10)])
    meta = {"arch": network.arch, "arch_name": "yolov7", "names": list(network.names)}
    save_best(path, network.state_dict(), meta)
    return str(path)


def parts_of(args: argparse.Namespace, folder: Path, teacher: str | None, method: str) -> RunParts:
    """Return the parts of a run of two epochs in which no view recurs."""
    distill = {"views": 2, "store": str(folder / f"store-{method}")}
    if teacher:
        methods = [{"name": method, "weight": 1.0}]
        distill |= {"teacher": teacher, "accept_teacher": True, "methods": methods}
    config = {
        "data": "digits",
        "model": {"arch": "yolov7-tiny"},
        "train": {"image_size": args.image_size, "batch": 8, "nominal_batch": 64, "epochs": 2},
        "distill": distill,
        "run": {"project": str(folder)},
    }
    return build_run(Config.model_validate(config), stores=True, keep_threads=True)


def measuring_seconds(parts: RunParts) -> float:
    """Return the seconds of a measurement of the methods' weights on stored answers."""
    if parts.distillation is None:
        return 0.0
    shares = parts.distillation._replace(shares=dict.fromkeys(parts.distillation.methods, 1.0))
    seconds = 0.0
    for when in ("to ask about what is not stored", "now"):  # both of the same images
        weights = WeightMeasurements(parts)
        start = time.perf_counter()
        for _ in weights.measure(shares, Position(), when):
            pass
        seconds = time.perf_counter() - start
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--methods", nargs="+", default=["bckd", "cwd"])
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.image_size} px")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher = write_teacher(folder / "teacher.safetensors")
        runs = {"plain": parts_of(args, folder, None, "")}
        runs |= {m: parts_of(args, folder, teacher, m) for m in args.methods}
        epoch = runs["plain"].schedule.steps
        times = dict(zip(("asked", "stored"), step_times(runs, args.steps), strict=True))
        plain = statistics.median(times["asked"]["plain"] + times["stored"]["plain"])
        print(f"plain step {plain:.3f} s, {epoch} steps per epoch")
        for method in args.methods:
            asked, stored = (paired_ratio(each[method], each["plain"]) for each in times.values())
            weighing = 5 * measuring_seconds(runs[method]) / (plain * epoch)
            print(
                f"{method}: epoch in which the teacher is asked {asked:.2f}, later one {stored:.3f}"
            )
            for epochs in EPOCHS:
                views = auto_views(epochs)
                ratio = (views * asked + (epochs - views) * stored + weighing) / epochs
                full = stored + weighing / epochs
                print(
                    f"  {epochs} epochs with five weighings: {ratio:.3f} × plain with "
                    f"{views} views, {full:.3f} on a full store"
                )


if __name__ == "__main__":
    main()
