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

from tutelage.config.schema import Config
from tutelage.data import open_dataset
from tutelage.evaluation import paired_bootstrap, sentence
from tutelage.train.comparison import measured
from tutelage.train.events import Evaluated, Finished, Notice
from tutelage.train.run import run_training

DATA = "../shared/data/bccd/bccd.yaml"
SIZE = 224


def settings(
    args: argparse.Namespace, name: str, arch: str, epochs: int, seed: int, teacher: str | None
) -> Config:
    """Return the settings of one arm."""
    return Config.model_validate(
        {
            "data": args.data,
            "preset": "v7-tiny",
            "model": {"arch": arch},
            "train": {
                "epochs": epochs,
                "batch": 8,
                "image_size": SIZE,
                "seed": seed,
                "nominal_batch": 8,
                "cache_images": "ram",
                "eval_every": 5,
                "patience": 0,
            },
            "optim": {"lr": 0.01, "lrf": 0.05},
            "loss": {"cls": 0.5, "obj": 1.0},
            "augment": {
                "mosaic": 0.0,
                "fliplr": 0.5,
                "flipud": 0.5,
                "translate": 0.1,
                "scale": 0.3,
            },
            "distill": {"teacher": teacher} | ({"ratio": args.ratio} if args.ratio else {}),
            "run": {"project": args.project, "name": name},
        }
    )


def arm(
    args: argparse.Namespace,
    name: str,
    arch: str,
    epochs: int,
    seed: int,
    teacher: str | None = None,
) -> str:
    """Train one arm, or find it finished, and return its folder."""
    folder = Path(args.project) / name
    if (folder / "seconds.json").exists():
        return str(folder)
    started = time.monotonic()
    for event in run_training(
        settings(args, name, arch, epochs, seed, teacher), command_line=f"benchmarks/bccd.py {name}"
    ):
        if isinstance(event, Evaluated):
            print(
                f"  {name} epoch {event.epoch + 1}/{epochs}: AP {event.scores['AP']:.3f}",
                flush=True,
            )
        elif isinstance(event, Notice):
            print(f"  {name}: {event.text}", flush=True)
        elif isinstance(event, Finished):
            folder = Path(event.folder)
    (folder / "seconds.json").write_text(json.dumps(time.monotonic() - started))
    return str(folder)


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--project", default="runs/bccd")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--teacher-epochs", type=int, default=80)
    parser.add_argument("--ratio", type=float, default=None)
    args = parser.parse_args()
    teacher = arm(args, "teacher", "yolov7-tiny@0.75", args.teacher_epochs, 0)
    rows = []
    for seed in args.seeds:
        base = arm(args, f"baseline-s{seed}", "yolov7-tiny@0.25", args.epochs, seed)
        tag = f"-r{args.ratio:g}" if args.ratio else ""
        taught = arm(
            args, f"distilled{tag}-s{seed}", "yolov7-tiny@0.25", args.epochs, seed, teacher
        )
        rows.append((seed, base, taught))
    for split in ("val", "test"):
        index = open_dataset(args.data, split)
        top = measured("teacher", teacher, data=args.data, split=split, image_size=SIZE)
        print(
            f"\n{split}: {len(index)} images, {SIZE} px\n{'model':<14} {'seed':>4} {'AP':>6} {'AP50':>6} {'params':>9} {'GFLOPs':>7} {'ms':>6}"
        )
        print(_row("teacher", "0", top))
        deltas = []
        for seed, base, taught in rows:
            arms = [
                measured(n, f, data=args.data, split=split, image_size=SIZE)
                for n, f in (("baseline", base), ("distilled", taught))
            ]
            for one in arms:
                print(_row(one.title, str(seed), one))
            difference = paired_bootstrap(
                index, arms[0].scores.detections, arms[1].scores.detections
            )
            gap = top.scores.AP - arms[0].scores.AP
            deltas.append(difference.delta)
            print(f"  seed {seed}: {sentence(difference, images=len(index), seeds=1)}")
            print(
                f"  gap to the teacher {100 * gap:+.1f} AP, closed {difference.delta / gap:.0%}"
                if gap > 0
                else "  no gap to the teacher"
            )
        if len(deltas) > 1:
            print(
                f"  mean ΔAP {100 * statistics.mean(deltas):+.1f}, spread {100 * statistics.stdev(deltas):.1f} over {len(deltas)} seeds"
            )
    for folder in sorted(Path(args.project).glob("*/seconds.json")):
        print(f"{folder.parent.name:<18} {json.loads(folder.read_text()):.0f} s")


def _row(name: str, seed: str, arm) -> str:
    return (
        f"{name:<14} {seed:>4} {100 * arm.scores.AP:6.1f} {100 * arm.scores.AP50:6.1f} "
        f"{arm.parameters:9,} {arm.gflops:7.2f} {arm.milliseconds:6.1f}"
    )


if __name__ == "__main__":
    main()
