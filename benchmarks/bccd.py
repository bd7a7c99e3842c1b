"""Teacher, baseline and distilled student on real images (BCCD blood cells, 364 pictures).

    python benchmarks/bccd.py [--data ../shared/data/bccd/bccd.yaml] [--seeds 0 1 2]

Trains a teacher once (yolov7-tiny at width 0.75), then per seed the same student (width 0.25)
without and with it, at equal budget, and prints the table on val and test as it came out. Runs
that are already there are used again, so that an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from tutelage.config.load import Resolved, load_config
from tutelage.data import open_dataset
from tutelage.evaluation import paired_bootstrap, sentence
from tutelage.train.comparison import Arm, measured
from tutelage.train.events import Evaluated, Finished, Notice
from tutelage.train.run import run_training

DATA = "../shared/data/bccd/bccd.yaml"
SIZE = 224
TEACHER, STUDENT = "yolov7-tiny@0.75", "yolov7-tiny@0.25"
# The gains undo YOLOv7's own scaling by image size and classes, made for 640 px and 80 classes.
SETTINGS: dict[str, Any] = {
    "preset": "v7-tiny",
    "train.image_size": SIZE,
    "train.batch": 8,
    "train.nominal_batch": 8,
    "train.cache_images": "ram",
    "train.eval_every": 5,
    "train.patience": 0,
    "loss.cls": 4.0,
    "loss.obj": 8.0,
    "augment.mosaic": 0.0,
    "augment.mixup": 0.0,
    "augment.flipud": 0.5,
    "augment.scale": 0.3,
}


def settings(args: argparse.Namespace, **changes: Any) -> Resolved:
    """Return the settings of one arm."""
    values = SETTINGS | {"data": args.data, "run.project": args.project}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return load_config(flags={key: (value, "bccd.py") for key, value in values.items()})


def train(args: argparse.Namespace, name: str, arch: str, epochs: int, **changes: Any) -> str:
    """Train one arm, or find it finished, and return its folder."""
    folder = Path(args.project) / name
    if (folder / "seconds.json").exists():
        return str(folder)
    arm = settings(args, run__name=name, model__arch=arch, train__epochs=epochs, **changes)
    started = time.monotonic()
    for event in run_training(arm.config, origins=arm.origins, command_line="benchmarks/bccd.py"):
        if isinstance(event, Evaluated):
            print(f"{name} {event.epoch + 1}/{epochs}: AP {event.scores['AP']:.3f}", flush=True)
        elif isinstance(event, Notice):
            print(f"{name}: {event.text}", flush=True)
        elif isinstance(event, Finished):
            folder = Path(event.folder)
    (folder / "seconds.json").write_text(json.dumps(time.monotonic() - started))
    return str(folder)


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--project", default="runs/bccd")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--ratio", type=float, default=None, help="distill.ratio")
    parser.add_argument("--layers", default=None, help="of both networks, e.g. 74,75,76")
    args = parser.parse_args()
    teacher = train(args, "teacher", TEACHER, args.teacher_epochs)
    distill: dict[str, Any] = {"distill__teacher": teacher}
    tag = ""
    if args.ratio is not None:
        distill["distill__ratio"] = args.ratio
        tag += f"-r{args.ratio:g}"
    if args.layers is not None:
        layers = args.layers.split(",")
        distill |= {"distill__student_kd_layers": layers, "distill__teacher_kd_layers": layers}
        tag += f"-l{layers[0]}"
    pairs = []
    for seed in args.seeds:
        base = train(args, f"baseline-s{seed}", STUDENT, args.epochs, train__seed=seed)
        name = f"distilled{tag}-s{seed}"
        taught = train(args, name, STUDENT, args.epochs, train__seed=seed, **distill)
        pairs.append((seed, base, taught))
    for split in ("val", "test"):
        table(args.data, split, teacher, pairs)
    print()
    for path in sorted(Path(args.project).glob("*/seconds.json")):
        print(f"{path.parent.name:<18} {json.loads(path.read_text()):.0f} s")


def table(data: str, split: str, teacher: str, pairs: list[tuple[int, str, str]]) -> None:
    """Print the table of one split."""
    index = open_dataset(data, split)
    print(f"\n{split}: {len(index)} images, {SIZE} px")
    print(f"{'model':<10} {'seed':>4} {'AP':>6} {'AP50':>6} {'params':>9} {'GFLOPs':>7} {'ms':>6}")
    top = measured("teacher", teacher, data=data, split=split, image_size=SIZE)
    print(row(top, 0))
    deltas = []
    for seed, *folders in pairs:
        base, taught = (
            measured(title, folder, data=data, split=split, image_size=SIZE)
            for title, folder in zip(("baseline", "distilled"), folders, strict=True)
        )
        difference = paired_bootstrap(index, base.scores.detections, taught.scores.detections)
        deltas.append(100 * difference.delta)
        gap = top.scores.AP - base.scores.AP
        closed = f"{difference.delta / gap:.0%} of it closed" if gap > 0 else "none to close"
        print(row(base, seed), row(taught, seed), sep="\n")
        print(f"  {sentence(difference)}")
        print(f"  gap to the teacher {100 * gap:.1f} AP, {closed}")
    if len(deltas) > 1:
        mean, spread = statistics.mean(deltas), statistics.stdev(deltas)
        print(f"  ΔAP over {len(deltas)} seeds: mean {mean:+.1f}, standard deviation {spread:.1f}")


def row(arm: Arm, seed: int) -> str:
    """Return one line of the table."""
    scores = f"{100 * arm.scores.AP:6.1f} {100 * arm.scores.AP50:6.1f}"
    size = f"{arm.parameters:9,} {arm.gflops:7.2f} {arm.milliseconds:6.1f}"
    return f"{arm.title:<10} {seed:>4} {scores} {size}"


if __name__ == "__main__":
    main()
