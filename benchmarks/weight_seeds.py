"""Do different seeds find the same weight? The demo's distilled run, once per seed.

python benchmarks/weight_seeds.py --seeds 0 1 2 3
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tutelage.demo import EPOCHS, settings, shipped_teacher
from tutelage.run.events import Finished
from tutelage.run.run import run_training


def main() -> None:
    """Train, print every reading, and the spread of the frozen weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", default="runs/weight-seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    frozen: list[float] = []
    for seed in arguments.seeds:
        arm = settings(
            f"seed{seed}",
            project=arguments.project,
            epochs=arguments.epochs,
            seed=seed,
            teacher=str(shipped_teacher()),
        )
        for event in run_training(
            arm.config, origins=arm.origins, command_line=Path(__file__).name
        ):
            if isinstance(event, Finished):
                saved = torch.load(Path(event.folder) / "last.pt", weights_only=True)
                readings = [entry["fgd"] for entry in saved["progress"]["readings"]]
                alone = "  ".join(f"{entry['measured']:.2f}" for entry in readings)
                frozen.append(readings[-1]["weight"])
                print(f"seed {seed}  readings {alone}  frozen {frozen[-1]:.3f}", flush=True)
    print(f"largest / smallest of {len(frozen)}: {max(frozen) / min(frozen):.2f}   (limit 1.25)")


if __name__ == "__main__":
    main()
