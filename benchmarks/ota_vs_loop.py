"""Time the vectorised SimOTA against the plain loop over images and boxes.

Both assign the same candidates by the same mathematics and must agree before anything is timed. Two
ratios are printed per number of classes: of the assignment alone (with its candidates), and of the
whole loss with its gradient.

Run from the project root:  python benchmarks/ota_vs_loop.py [--repeats 20] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.losses.loop_assigners import loop_simota
from tests.losses.loss_cases import criterion

from tutelage.losses import AnchorCriterion
from tutelage.structures import Targets

IMAGES, BOXES_PER_IMAGE, IMAGE_SIZE = 16, 20, 320


def scene(classes: int) -> tuple[list[Tensor], Targets]:
    """Return raw outputs of a young detector and boxes of all sizes."""
    generator = torch.Generator().manual_seed(0)
    raw = []
    for stride in (8, 16, 32):
        side = IMAGE_SIZE // stride
        level = torch.randn(IMAGES, side, side, 3, 5 + classes, generator=generator)
        level[..., 4:] -= 3
        raw.append(level.permute(0, 3, 1, 2, 4).requires_grad_())
    boxes = IMAGES * BOXES_PER_IMAGE
    centre = torch.rand(boxes, 2, generator=generator) * IMAGE_SIZE
    size = 6 + torch.rand(boxes, 2, generator=generator).square() * IMAGE_SIZE / 2
    xyxy = torch.cat((centre - size / 2, centre + size / 2), dim=1).clamp(0, IMAGE_SIZE)
    image = torch.arange(IMAGES).repeat_interleave(BOXES_PER_IMAGE)
    return raw, Targets(image, torch.randint(classes, (boxes,), generator=generator), xyxy)


def looped(action: Callable[[], object]) -> Callable[[], object]:
    """Return the action with the loop in the place of the vectorised assignment."""

    def run() -> object:
        with mock.patch("tutelage.losses.anchor_criterion.simota", loop_simota):
            return action()

    return run


def medians(actions: list[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median time of each action in milliseconds, the actions taking turns."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for action, record in zip(actions, seconds, strict=True):
            start = time.perf_counter()
            action()
            record.append(time.perf_counter() - start)
    return [1000 * statistics.median(record) for record in seconds]


def step(measure: AnchorCriterion, raw: list[Tensor], targets: Targets) -> None:
    """Compute the loss and its gradient."""
    torch.autograd.grad(sum(measure(raw, targets, (IMAGE_SIZE, IMAGE_SIZE)).values()), raw)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{IMAGES} images of {IMAGE_SIZE} px, {BOXES_PER_IMAGE} boxes each, "
        f"{options.threads} threads, median of {options.repeats} (ms)"
    )
    print(f"{'classes':>7}  {'':10}  {'loop':>8}  {'vectorised':>10}  {'ratio':>6}")
    for classes in (3, 80):
        raw, targets = scene(classes)
        measure = criterion(classes=classes, image_size=IMAGE_SIZE, scaling="reference")

        def assign(
            measure: AnchorCriterion = measure, raw: list[Tensor] = raw, targets: Targets = targets
        ):
            return measure.match(raw, targets)

        def train(
            measure: AnchorCriterion = measure, raw: list[Tensor] = raw, targets: Targets = targets
        ):
            step(measure, raw, targets)

        for ours, theirs in zip(assign()[:6], looped(assign)()[:6], strict=True):
            if not torch.equal(ours, theirs):
                raise SystemExit(f"the two assignments disagree for {classes} classes")
        for name, action in (("assignment", assign), ("whole loss", train)):
            medians([looped(action), action], 2)
            loop, fast = medians([looped(action), action], options.repeats)
            print(f"{classes:7}  {name:10}  {loop:8.1f}  {fast:10.1f}  {loop / fast:5.1f}x")


if __name__ == "__main__":
    main()
