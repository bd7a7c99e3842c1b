"""What FGD costs, against the same mathematics written box by box and image by image.

    python benchmarks/fgd_vs_loop.py [--repeats 9] [--batch 16] [--boxes 20] [--device cpu]

Maps of yolov7-tiny taught by yolov7 (64/128/256 → 128/256/512 channels), channels-last, at 320 and
640 px. Forward and backward, connectors included in both; then the masks alone. Both are timed in
turn in one process; a ratio is that of medians. Their losses are compared first.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.distill.masks import object_masks
from tutelage.distill.methods.fgd import FGD, GlobalContext
from tutelage.structures import Knowledge, Targets

CHANNELS = ((64, 128), (128, 256), (256, 512))
STRIDES = (8, 16, 32)


def loop_masks(targets: Targets, batch: int, h: int, w: int, size: int) -> tuple[Tensor, Tensor]:
    """Draw foreground and background box by box and image by image, as published code does."""
    foreground = targets.xyxy.new_zeros(batch, h, w)
    background = torch.ones_like(foreground)
    for image in range(batch):
        for box in targets.xyxy[targets.image == image]:
            x1, y1, x2, y2 = (min(max(side, 0), size) for side in box.tolist())
            left, right = math.floor(x1 * w / size), math.ceil(x2 * w / size) + 1
            top, bottom = math.floor(y1 * h / size), math.ceil(y2 * h / size) + 1
            weight = 1 / ((right - left) * (bottom - top))
            part = foreground[image, top:bottom, left:right]
            foreground[image, top:bottom, left:right] = part.clamp(min=weight)
        background[image] = (foreground[image] == 0).float()
        if background[image].sum() > 0:
            background[image] /= background[image].sum()
    return foreground[:, None], background[:, None]


def loop_attention(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return spatial and channel attention of one image ``(c, h, w)``."""
    c, h, w = x.shape
    spatial = F.softmax(x.abs().mean(0).flatten() / temperature, dim=0).view(1, h, w) * h * w
    channel = F.softmax(x.abs().mean((1, 2)) / temperature, dim=0).view(c, 1, 1) * c
    return spatial, channel


def loop_context(block: GlobalContext, x: Tensor) -> Tensor:
    """Return one image's map with its global context added."""
    logits = (block.mask.weight.view(-1, 1, 1) * x).sum(0) + block.mask.bias
    context = (F.softmax(logits.flatten(), dim=0) * x.flatten(1)).sum(1)
    return x + block.transform(context).view(-1, 1, 1)


def loop_fgd(
    method: FGD, student: Knowledge, teacher: Knowledge, targets: Targets, size: int
) -> Tensor:
    """Return FGD's total, computed image by image."""
    total = torch.zeros((), device=targets.xyxy.device)
    levels = zip(method.connectors, method.levels, student.features, teacher.features, strict=True)
    for connector, level, s, t in levels:
        s = connector(s)
        context = cast("nn.ModuleDict", level)
        blocks = [cast("GlobalContext", context[side]) for side in ("student", "teacher")]
        b, _, h, w = s.shape
        foreground, background = loop_masks(targets, b, h, w, size)
        for i in range(b):
            s_spatial, s_channel = loop_attention(s[i], method.temperature)
            t_spatial, t_channel = loop_attention(t[i], method.temperature)
            error = (s[i] - t[i]) ** 2 * t_spatial * t_channel
            relation = (loop_context(blocks[0], s[i]) - loop_context(blocks[1], t[i])) ** 2
            attentive = (s_channel - t_channel).abs().sum() + (s_spatial - t_spatial).abs().sum()
            terms = (
                method.alpha * (error * foreground[i]).sum()
                + method.beta * (error * background[i]).sum()
                + method.gamma * attentive
                + method.lam * relation.sum()
            )
            total = total + terms / b
    return total


def scene(batch: int, boxes: int, size: int, device: str) -> tuple[Knowledge, Knowledge, Targets]:
    """Draw features and boxes of log-uniform size."""
    g = torch.Generator().manual_seed(0)
    count = batch * boxes
    centre = torch.rand(count, 2, generator=g) * size
    half = torch.exp(torch.rand(count, 2, generator=g) * math.log(size / 16)) * 4
    xyxy = torch.cat([centre - half, centre + half], 1).clamp(0, size).to(device)
    image = torch.arange(batch).repeat_interleave(boxes).to(device)
    sides = [size // stride for stride in STRIDES]

    def maps(which: int) -> Knowledge:
        drawn = (
            torch.randn(batch, pair[which], side, side, generator=g)
            for pair, side in zip(CHANNELS, sides, strict=True)
        )
        return Knowledge(tuple(x.to(device, memory_format=torch.channels_last) for x in drawn))

    student, teacher = maps(0), maps(1)
    for feature in student.features:
        feature.requires_grad_()
    return student, teacher, Targets(image, torch.zeros_like(image), xyxy)


def timed(jobs: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Return the median milliseconds of each job, all run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(repeats + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def compare(size: int, options: argparse.Namespace) -> None:
    """Time both at one image size and print the ratios."""
    device, batch = options.device, options.batch
    torch.manual_seed(0)
    method = FGD(CHANNELS, standardise=False).to(device, memory_format=torch.channels_last)
    for parameter in method.parameters():
        nn.init.normal_(parameter, std=0.05)
    student, teacher, targets = scene(batch, options.boxes, size, device)
    grids = [size // stride for stride in STRIDES]

    def vectorised() -> Tensor:
        terms = method(student, teacher, targets, (size, size))
        return torch.stack(list(terms.values())).sum()

    def loop() -> Tensor:
        return loop_fgd(method, student, teacher, targets, size)

    with torch.no_grad():
        ours, theirs = float(vectorised()), float(loop())
    if not math.isclose(ours, theirs, rel_tol=1e-4):
        raise SystemExit(f"the two disagree: {ours} and {theirs}")
    jobs: dict[str, Callable[[], object]] = {
        "vectorised": lambda: vectorised().backward(),
        "loop": lambda: loop().backward(),
        "masks": lambda: [object_masks(targets, batch, (n, n), (size, size)) for n in grids],
        "loop masks": lambda: [loop_masks(targets, batch, n, n, size) for n in grids],
    }
    times = timed(jobs, options.repeats, device)
    for fast, slow in (("vectorised", "loop"), ("masks", "loop masks")):
        print(
            f"{size} px  {fast:10s} {times[fast]:8.1f} ms   {slow:10s} {times[slow]:8.1f} ms"
            f"   ratio {times[slow] / times[fast]:5.1f}"
        )


def main() -> None:
    """Print the ratios for all sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--boxes", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 640])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"batch {options.batch}, {options.boxes} boxes per image, {threads} threads")
    for size in options.sizes:
        compare(size, options)


if __name__ == "__main__":
    main()
