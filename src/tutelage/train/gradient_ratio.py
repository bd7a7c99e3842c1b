"""The weight of every method, found by measurement.

Published weights do not transfer between widths and input sizes: a sum-reduced loss scales with
channels and cells. What decides how strongly a teacher pulls is the size of its gradient where it
enters the student, at the tapped features, beside the gradient of the detection loss there.

A method that sums over pairs of maps is also balanced between them: each is to pull in proportion
to what the detection loss does at that map. Where a data set has no large objects, nothing is
detected at the coarse maps, and imitating them would take a share of the weight and teach nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import hypot, inf
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.distill.method import as_level_method
from tutelage.errors import ConfigError, TrainingError
from tutelage.structures import Batch, Knowledge, Losses, Output
from tutelage.train.task import Task

LIMITS = (1e-12, 1e12)
TINY = 1e-30
FLOOR = 1e-4  # of the largest weight of a pair: none is switched off


class WeightReading(NamedTuple):
    """One measurement.

    Attributes:
        weights: The weight per method that gives it its share of the ratio.
        ratios: Per method, ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at weight 1, one value per batch.
        levels: The same of each tapped feature alone; one list per batch.
        balance: Of methods that sum over pairs of maps, the weights of the pairs, the largest 1.
            The weights and ratios above hold with them.
    """

    weights: dict[str, float]
    ratios: dict[str, list[float]]
    levels: Mapping[str, list[list[float]]] = {}
    balance: Mapping[str, list[float]] = {}


class GradientNorms(NamedTuple):
    """Norms of gradients at the maps that a method looks at.

    Attributes:
        kd: Of the method's loss.
        detection: Of the detection loss.
        direct: Of the method's loss, each map by itself: not what reaches it through coarser ones.
            Empty where the method does not sum over pairs.
    """

    kd: list[float]
    detection: list[float]
    direct: list[float]


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
    settle: Callable[[str, list[float]], list[float]] = lambda _, found: found,
) -> WeightReading:
    """Measure the weights that give each method its share of the gradient at the taps.

    Args:
        task: The bare task (not wrapped). Its buffers and gradients are left as they are.
        teacher: Maps floating-point images to what each teacher knows.
        batches: Batches with boxes, on the task's device; taken one at a time.
        shares: Per method with ``weight: auto``, the wanted ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖.
        reduce: Averages a tensor over processes.
        settle: From a method's name and the balance that was found to the one that is used.

    Returns:
        Weights = share / median over the batches of the ratio at weight 1.

    Raises:
        ConfigError: All tapped layers are frozen.
        TrainingError: A method has no gradient there, or none that is finite.
    """
    norms: dict[str, list[GradientNorms]] = {name: [] for name in shares}
    training = task.training
    kept = dict(task.weights)
    task.train()
    task.weights.update(dict.fromkeys(task.weights, 1.0))
    try:
        with buffers_restored(task):
            for raw in batches:
                batch = raw.floating()
                for name, found in _norms(task, batch, teacher(batch.images), shares).items():
                    norms[name].append(found)
    finally:
        task.weights.update(kept)
        task.train(training)
    low, high = LIMITS
    weights: dict[str, float] = {}
    ratios: dict[str, list[float]] = {}
    levels: dict[str, list[list[float]]] = {}
    balance: dict[str, list[float]] = {}
    for name, share in shares.items():
        part = as_level_method(task.methods[name])
        before = after = [1.0] * len(norms[name][0].kd)
        if part is not None:
            before = part.balance.tolist()
            after = settle(name, balanced(norms[name], before, reduce))
            balance[name] = after
        ratios[name], levels[name] = _rebalanced(norms[name], before, after)
        middle = float(reduce(torch.tensor(median(ratios[name]), dtype=torch.float64)))
        if not 0 < middle < inf:
            raise TrainingError(
                f"The weight of {name} cannot be measured: beside the gradient of detection that "
                f"of {name} is {middle:g} at the layers it looks at.",
                fix="Give it a number:  --method NAME:weight=1  or leave it out.",
                code="T27",
            )
        weights[name] = min(max(share / middle, low), high)
    return WeightReading(weights, ratios, levels, balance)


def apply(task: Task, reading: WeightReading) -> None:
    """Set the weights and balances of a reading."""
    task.weights.update(reading.weights)
    task.rebalance(reading.balance)


def balanced(
    norms: Sequence[GradientNorms], before: Sequence[float], reduce: Callable[[Tensor], Tensor]
) -> list[float]:
    """Return weights that make the direct gradients proportional to those of detection."""
    found = [
        [d / kd if kd > TINY else 0.0 for kd, d in zip(n.direct, n.detection, strict=True)]
        for n in norms
    ]
    middle = torch.tensor([median(each) for each in zip(*found, strict=True)], dtype=torch.float64)
    wanted = reduce(middle * torch.tensor(before, dtype=torch.float64)).double()
    top = float(wanted.max())
    if not 0 < top < inf:
        return [1.0] * len(before)
    return (wanted / top).clamp(min=FLOOR).tolist()


def _rebalanced(
    norms: Sequence[GradientNorms], before: Sequence[float], after: Sequence[float]
) -> tuple[list[float], list[list[float]]]:
    """Return per batch the ratio, and that at each map, as they are with another balance.

    Exact where no map is computed from another one; elsewhere near, and the next reading, which
    begins with this balance, is nearer.
    """
    change = [new / old for old, new in zip(before, after, strict=True)]
    ratios, levels = [], []
    for kd, detection, direct in norms:
        factor = 1.0
        if direct:
            moved = hypot(*(c * norm for c, norm in zip(change, direct, strict=True)))
            factor = moved / max(hypot(*direct), TINY)
        ratios.append(factor * hypot(*kd) / max(hypot(*detection), TINY))
        each = zip(change, kd, detection, strict=True)
        levels.append([c * k / max(d, TINY) for c, k, d in each])
    return ratios, levels


def _norms(
    task: Task, batch: Batch, knowledge: Sequence[Knowledge], names: Iterable[str]
) -> dict[str, GradientNorms]:
    """Return per method the norms of its and of detection's gradient at the maps it looks at."""
    out = task.student(batch.images, task.taps)
    losses = task.losses(out, batch, knowledge)
    detection = _norm(torch.stack(list(losses.detection.values())).sum(), out.taps)
    found = {}
    for name in names:
        norms, own = _norm(_total(losses, name), out.taps), task.views[name].student_maps
        at = range(len(norms)) if own is None else own
        direct: list[float] = []
        if as_level_method(task.methods[name]) is not None:
            direct = _direct(task, name, out, batch, knowledge)
        found[name] = GradientNorms(
            [norms[i] for i in at],
            [detection[i] for i in at],
            [direct[i] for i in at] if direct else [],
        )
    return found


def _direct(
    task: Task, name: str, out: Output, batch: Batch, knowledge: Sequence[Knowledge]
) -> list[float]:
    """Return the norms of a method's gradient at maps of which none is computed from another."""
    size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
    leaves = tuple(tap.detach().requires_grad_(tap.requires_grad) for tap in out.taps)
    student = task.knowledge(out._replace(taps=leaves), size)
    terms = task.compared(name, student, knowledge, batch.targets, size)
    return _norm(torch.stack(list(terms.values())).sum(), leaves)


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
            code="T27",
        )
    grads = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
    norms = (0.0 if g is None else float(torch.linalg.vector_norm(g.float())) for g in grads)
    return [next(norms) if feature.requires_grad else 0.0 for feature in features]
