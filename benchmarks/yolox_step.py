"""A training step of our YOLOX beside the published code's, and beside its own bare pass.

    python benchmarks/yolox_step.py FOLDER [--arch yolox-nano yolox-s] [--classes 80] [--repeats 5]

FOLDER holds the sources of YOLOX, as for ``yolox_reference.py``. Batch 8, 320 px, 20 boxes per
image, a batch in memory, accumulation 8, in float32 on one CPU: network, loss, backward and
optimizer of both; ours has the EMA besides. Timed in turn in one process; the ratios are of
medians. ``step.py --plain yolox-nano`` measures ours alone. Quiet machine, run twice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.step import ACCUMULATION, BATCH, bare, compare, make, synthetic, trainer
from benchmarks.yolox_reference import network, published

from tutelage.models.catalog import ARCHITECTURES
from tutelage.structures import Batch

MOMENTUM, RATE = 0.9, 1e-4


def published_trainer(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """Return a function that takes one optimizer step's worth of batches with the given network."""
    images = 255 * batch.floating().images.flip(1)
    label, box = batch.targets.label[:, None], batch.targets.xyxy
    rows = torch.cat((label, (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]), 1)
    labels = rows.view(BATCH, -1, 5)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, nesterov=True)
    model.train()

    def run() -> None:
        for _ in range(ACCUMULATION):
            model(images, labels)["total_loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def measure(source: Any, arch: str, classes: int, repeats: int) -> None:
    """Measure and print the ratios of one size."""
    names, batch = [str(i) for i in range(classes)], synthetic(classes)
    size = ARCHITECTURES[arch]
    theirs = network(source, size.depth, size.width, arch == "yolox-nano", classes)
    seconds = compare(
        {
            "bare": bare(make(arch, names), batch),
            "ours": trainer(make(arch, names), None, None, batch),
            "published": published_trainer(theirs, batch),
        },
        repeats,
    )
    text = "  ".join(f"{name} {value / ACCUMULATION:.3f}" for name, value in seconds.items())
    print(f"{arch}, {classes} classes, seconds per step: {text}")
    print(f"  ours / bare                                {seconds['ours'] / seconds['bare']:.3f}")
    print(
        f"  ours / published                           {seconds['ours'] / seconds['published']:.3f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", nargs="+", default=["yolox-nano", "yolox-s"])
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = published(args.folder)
    for arch in args.arch:
        measure(source, arch, args.classes, args.repeats)


if __name__ == "__main__":
    main()
