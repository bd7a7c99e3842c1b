"""Make the teacher that the package ships: train it on the built-in digits, store it in half.

    python benchmarks/demo_teacher.py [--project runs]

Writes ``src/tutelage/demo_teacher.safetensors`` (under 3 MB). The training is that of
``tutelage demo --train-teacher``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tutelage.demo import SHIPPED, TEACHER, TEACHER_EPOCHS, settings
from tutelage.run.events import Evaluated, Finished
from tutelage.run.run import run_training
from tutelage.weights.store import load_best, save_best

TARGET = Path(__file__).parent.parent / "src" / "tutelage" / SHIPPED


def main() -> None:
    """Train and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", default="runs")
    args = parser.parse_args()
    arm = settings("demo-teacher", project=args.project, arch=TEACHER, epochs=TEACHER_EPOCHS)
    for event in run_training(arm.config, origins=arm.origins, command_line="demo_teacher.py"):
        if isinstance(event, Evaluated):
            print(f"epoch {event.epoch + 1}: AP {event.scores['AP']:.3f}", flush=True)
        elif isinstance(event, Finished):
            state, meta = load_best(Path(event.folder) / "best.safetensors")
            half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
            save_best(TARGET, half, meta)
            print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
