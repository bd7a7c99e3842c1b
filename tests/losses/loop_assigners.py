"""The assigners as plain loops: what the vectorised ones must equal.

Slow on purpose. The benchmark measures the distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from tutelage.losses.assigner import Matches
from tutelage.structures import Targets


def loop_candidates(
    targets: Targets,
    anchors: Tensor,
    strides: Sequence[int],
    grids: Sequence[tuple[int, int]],
    max_ratio: float,
    reach: float = 0.5,
) -> list[tuple[int, int, int, int, int, int]]:
    """Return (level, image, anchor, row, column, target) of every candidate, in order."""
    found = []
    for level, (stride, (ny, nx)) in enumerate(zip(strides, grids, strict=True)):
        for direction in ("own", "left", "up", "right", "down"):
            for a, (anchor_w, anchor_h) in enumerate(anchors[level].tolist()):
                for t, (x1, y1, x2, y2) in enumerate(targets.xyxy.tolist()):
                    ratios = ((x2 - x1) / anchor_w, (y2 - y1) / anchor_h)
                    if any(max(r, 1 / r if r else math.inf) >= max_ratio for r in ratios):
                        continue
                    x, y = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
                    from_right, from_bottom = nx - x, ny - y
                    exists, dx, dy = {
                        "own": (True, 0, 0),
                        "left": (x - math.floor(x) < reach and x > 1, -reach, 0),
                        "up": (y - math.floor(y) < reach and y > 1, 0, -reach),
                        "right": (from_right % 1 < reach and from_right > 1, reach, 0),
                        "down": (from_bottom % 1 < reach and from_bottom > 1, 0, reach),
                    }[direction]
                    if exists:
                        column = min(max(int(x + dx), 0), nx - 1)
                        row = min(max(int(y + dy), 0), ny - 1)
                        found.append((level, int(targets.image[t]), a, row, column, t))
    return found


@torch.no_grad()
def loop_simota(
    candidates: Matches, xyxy: Tensor, scores: Tensor, targets: Targets, *, images: int
) -> Matches:
    """Do what ``simota`` does image by image and box by box, with the full class cost tensor."""
    owner = torch.full((len(scores),), -1)
    scores = scores.clamp(1e-7, 1 - 1e-7)
    for image in range(images):
        own = (candidates.image == image).nonzero()[:, 0]
        boxes = (targets.image == image).nonzero()[:, 0]
        if not len(own) or not len(boxes):
            continue
        iou = box_iou(targets.xyxy[boxes].to(xyxy.dtype), xyxy[own])
        hot = F.one_hot(targets.label[boxes], scores.shape[1]).to(scores.dtype)
        q = scores[own].expand(len(boxes), -1, -1)
        entropy = F.binary_cross_entropy_with_logits(
            torch.log(q / (1 - q)), hot[:, None].expand_as(q), reduction="none"
        )
        cost = entropy.sum(-1) - 3 * torch.log(iou + 1e-8)
        claims = torch.zeros_like(cost, dtype=torch.bool)
        for box in range(len(boxes)):
            best = iou[box].topk(min(10, len(own))).values
            wanted = max(int(best.sum().item()), 1)
            claims[box, cost[box].sort(stable=True).indices[:wanted]] = True
        for candidate in range(len(own)):
            claimants = claims[:, candidate].nonzero()[:, 0]
            if len(claimants) > 1:
                claimants = cost[:, candidate].argmin()[None]
            if len(claimants):
                owner[own[candidate]] = boxes[claimants[0]]
    kept = owner >= 0
    counts = tuple(int(part.sum()) for part in kept.split(candidates.counts))
    return Matches(*(field[kept] for field in candidates[:5]), owner[kept], counts)
