"""The weight of every method, found by measurement.

Published weights do not transfer between widths and input sizes: a sum-reduced loss scales with
channels and cells. What decides how strongly a teacher pulls is the size of its gradient where it
enters the student, at the tapped features, beside the gradient of the detection loss there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import hypot
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.errors import ConfigError
from tutelage.structures import Batch, Knowledge, Losses
from tutelage.train.task import Task

LIMITS = (1e-12, 1e12)
TINY = 1e-30


class Reading(NamedTuple):
    """One measurement.

    Attributes:
        weights: The weight per method that gives it its share of the ratio.
        ratios: Per method, ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at weight 1, one value per batch.
        levels: The same of each tapped feature alone; one list per batch.
    """

    weights: dict[str, float]
    ratios: dict[str, list[float]]
    levels: Mapping[str, list[list[float]]] = {}


@contextmanager
def buffers_restored(module: nn.Module) -> Iterator[None]:
    """Undo what a forward pass in train mode does to buffers (BatchNorm statistics)."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])


def measure(
    task: Task,
    teacher: Callable[[Tensor], Sequence[Knowledge]],
    batches: Iterable[Batch],
    shares: Mapping[str, float],
    reduce: Callable[[Tensor], Tensor] = lambda x: x,
) -> Reading:
    """Measure the weights that give each method its share of the gradient at the taps.

    Args:
        task: The bare task (not wrapped). Its buffers and gradients are left as they are.
        teacher: Maps floating-point images to what each teacher knows.
        batches: Batches with boxes, on the task's device; taken one at a time.
        shares: Per method with ``weight: auto``, the wanted ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖.
        reduce: Averages a tensor over processes.

    Returns:
        Weights = share / median over the batches of the ratio at weight 1.

    Raises:
        ConfigError: All tapped layers are frozen.
    """
    ratios: dict[str, list[float]] = {name: [] for name in shares}
    levels: dict[str, list[list[float]]] = {name: [] for name in shares}
    training = task.training
    kept = dict(task.weights)
    task.train()
    task.weights.update(dict.fromkeys(task.weights, 1.0))
    try:
        with buffers_restored(task):
            for raw in batches:
                batch = raw.floating()
                found = _norms(task, batch, teacher(batch.images), shares)
                for name, (norms, detection) in found.items():
                    ratios[name].append(hypot(*norms) / max(hypot(*detection), TINY))
                    pairs = zip(norms, detection, strict=True)
                    levels[name].append([kd / max(det, TINY) for kd, det in pairs])
    finally:
        task.weights.update(kept)
        task.train(training)
    low, high = LIMITS
    weights = {}
    for name, share in shares.items():
        middle = float(reduce(torch.tensor(median(ratios[name]), dtype=torch.float64)))
        weights[name] = min(max(share / middle, low), high) if middle > 0 else 1.0
    return Reading(weights, ratios, levels)


def _norms(
    task: Task, batch: Batch, knowledge: Sequence[Knowledge], names: Iterable[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return per method the norms of its and of detection's gradient at the maps it looks at."""
    out = task.student(batch.images, task.taps)
    losses = task.losses(out, batch, knowledge)
    detection = _norm(torch.stack(list(losses.detection.values())).sum(), out.taps)
    found = {}
    for name in names:
        norms, own = _norm(_total(losses, name), out.taps), task.views[name].student
        at = range(len(norms)) if own is None else own
        found[name] = [norms[i] for i in at], [detection[i] for i in at]
    return found


def _total(losses: Losses, method: str) -> Tensor:
    terms = [v for key, v in losses.distillation.items() if key.startswith(f"{method}/")]
    return torch.stack(terms).sum()


def _norm(loss: Tensor, features: Sequence[Tensor]) -> list[float]:
    # Maps of frozen rows have no gradient.
    trained = [feature for feature in features if feature.requires_grad]
    if not trained:
        raise ConfigError(
            "The layers that the methods look at are frozen: there is no gradient to measure.",
            fix="Freeze fewer rows with --freeze, or give the method a number as weight.",
        )
    grads = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
    norms = (0.0 if g is None else float(torch.linalg.vector_norm(g.float())) for g in grads)
    return [next(norms) if feature.requires_grad else 0.0 for feature in features]
