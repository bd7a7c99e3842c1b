"""Weights of the methods from measured gradients.

Published weights do not transfer between widths and input sizes: a sum-reduced loss scales with
channels and cells. The influence of a method on the student is the norm of its gradient at the
tapped features, relative to that of the detection loss.

A method that sums over pairs of maps is also balanced between them, in proportion to the gradient
of the detection loss at each map. Without large objects, for example, nothing is detected at the
coarse maps: imitating them would take a share of the weight and teach nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import hypot, inf, log
from statistics import median, quantiles
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.distill.method import as_level_method
from tutelage.errors import ConfigError, TrainingError
from tutelage.structures import Batch, Knowledge, Output
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task

LIMITS = (1e-12, 1e12)
TINY = 1e-30
FLOOR = 1e-4  # smallest weight of a pair, relative to the largest
LEAST_BATCHES, PRECISION = 8, 0.05  # a measurement ends at this relative standard error


class WeightReading(NamedTuple):
    """One measurement.

    Attributes:
        weights: The weight per method that gives it its share of the ratio.
        ratios: Per method, ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at weight 1, one value per batch.
        levels: Per method, the same at each tapped feature alone; one list per batch.
        balance: The weights of the pairs of maps, the largest 1, of methods that sum over pairs.
            Weights and ratios are valid with these.
    """

    weights: dict[str, float]
    ratios: dict[str, list[float]]
    levels: Mapping[str, list[list[float]]] = {}
    balance: Mapping[str, list[float]] = {}


class GradientNorms(NamedTuple):
    """Norms of gradients at the maps that a method compares.

    Attributes:
        kd: Of the method's loss.
        detection: Of the detection loss.
        direct: Of the method's loss at each map, excluding what reaches it through coarser maps.
            Empty where the method does not sum over pairs.
    """

    kd: list[float]
    detection: list[float]
    direct: list[float]


@contextmanager
def buffers_restored(module: nn.Module) -> Iterator[None]:
    """Restore the buffers (BatchNorm statistics) that a forward pass in train mode changes."""
    saved = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(saved[name])


@contextmanager
def constant(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let autograd treat parameters as constants: nothing is kept for their gradients."""
    changed = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


def measure_weights(
    task: Task,
    teachers: Callable[[Batch], Sequence[Knowledge]],
    batches: Iterable[Batch],
    shares: Mapping[str, float],
    reduce: Callable[[Tensor], Tensor] = lambda x: x,
    adjust_balance: Callable[[str, list[float]], list[float]] = lambda _, measured: measured,
) -> WeightReading:
    """Measure the weights that give each method its share of the gradient at the taps.

    Args:
        task: The bare task (not wrapped). Its buffers and gradients stay unchanged.
        teachers: From a floating-point batch to the knowledge of each teacher.
        batches: Batches with boxes, on the task's device; read one at a time, until the medians
            are precise. All processes have equally many.
        shares: Per method with ``weight: auto``, the target ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖.
        reduce: Averages a tensor over processes.
        adjust_balance: From a method's name and its measured balance to the balance used.

    Returns:
        Weights = share / median over the batches of the ratio at weight 1.

    Raises:
        ConfigError: All tapped layers are frozen.
        TrainingError: A method has no gradient there, or none that is finite.
    """
    norms: dict[str, list[GradientNorms]] = {name: [] for name in shares}
    training, weights_before = task.training, dict(task.weights)
    task.train()
    task.weights.update(dict.fromkeys(task.weights, 1.0))
    try:
        before_taps = task.student.parameters_before(task.taps)
        with buffers_restored(task), constant(before_taps):
            for raw in batches:
                batch = raw.floating()
                supervised = SupervisedBatch(batch, teachers(batch))
                for name, measured in _gradient_norms(task, supervised, shares).items():
                    norms[name].append(measured)
                done = len(next(iter(norms.values()), ()))
                if done >= LEAST_BATCHES and not float(reduce(torch.tensor(float(vague(norms))))):
                    break
    finally:
        task.weights.update(weights_before)
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
            after = adjust_balance(name, balanced(norms[name], before, reduce))
            balance[name] = after
        ratios[name], levels[name] = _rebalanced(norms[name], before, after)
        middle = float(reduce(torch.tensor(median(ratios[name]), dtype=torch.float64)))
        if not 0 < middle < inf:
            raise TrainingError(
                f"The weight of {name} cannot be measured: beside the gradient of detection that "
                f"of {name} is {middle:g} at the layers it compares.",
                fix="Give it a number:  --method NAME:weight=1  or leave it out.",
                code="T27",
            )
        weights[name] = min(max(share / middle, low), high)
    return WeightReading(weights, ratios, levels, balance)


def apply_weights(task: Task, reading: WeightReading) -> None:
    """Set the weights and balances of a reading."""
    task.weights.update(reading.weights)
    task.rebalance(reading.balance)


def vague(norms: Mapping[str, Sequence[GradientNorms]]) -> bool:
    """Whether a median over the batches, of a method or at one of its maps, is not precise yet."""
    return any(
        standard_error([k / max(d, TINY) for k, d in pairs]) > PRECISION
        for each in norms.values()
        for pairs in (
            [(hypot(*n.kd), hypot(*n.detection)) for n in each],
            *zip(*(zip(n.direct, n.detection, strict=True) for n in each if n.direct), strict=True),
        )
    )


def standard_error(ratios: Sequence[float]) -> float:
    """Return the relative standard error of the median of positive numbers, by their quartiles.

    Of a logarithmic normal distribution: 1.253 standard deviations over the root of their number,
    and the quartiles are 1.349 deviations apart. Infinite if a quarter of them is zero.
    """
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return 1.253 * log(high / low) / 1.349 / len(ratios) ** 0.5 if low > 0 else inf


def balanced(
    norms: Sequence[GradientNorms], before: Sequence[float], reduce: Callable[[Tensor], Tensor]
) -> list[float]:
    """Return the balance that makes the direct gradients proportional to those of detection."""
    ratios = [
        [d / kd if kd > TINY else 0.0 for kd, d in zip(n.direct, n.detection, strict=True)]
        for n in norms
    ]
    middle = torch.tensor([median(each) for each in zip(*ratios, strict=True)], dtype=torch.float64)
    wanted = reduce(middle * torch.tensor(before, dtype=torch.float64)).double()
    top = float(wanted.max())
    if not 0 < top < inf:
        return [1.0] * len(before)
    return (wanted / top).clamp(min=FLOOR).tolist()


def _rebalanced(
    norms: Sequence[GradientNorms], before: Sequence[float], after: Sequence[float]
) -> tuple[list[float], list[list[float]]]:
    """Return the ratio per batch, and at each map, for another balance than the measured one.

    Exact where no map is computed from another one; otherwise approximate, and more exact with the
    next reading, which is measured with this balance.
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


def _gradient_norms(
    task: Task, supervised: SupervisedBatch, names: Iterable[str]
) -> dict[str, GradientNorms]:
    """Return per method the norms of its and of detection's gradient at the maps it compares."""
    output = task.student(supervised.batch.images, task.taps)
    losses = task.losses(output, supervised)
    detection = _norms(list(losses.detection.values()), output.taps)
    measured = {}
    for name in names:
        terms = [v for key, v in losses.distillation.items() if key.startswith(f"{name}/")]
        kd, maps = _norms(terms, output.taps), task.views[name].student_maps
        places = range(len(kd)) if maps is None else maps
        direct: list[float] = []
        if as_level_method(task.methods[name]) is not None:
            direct = _direct_norms(task, name, output, supervised)
        measured[name] = GradientNorms(
            [kd[i] for i in places],
            [detection[i] for i in places],
            [direct[i] for i in places] if direct else [],
        )
    return measured


def _direct_norms(
    task: Task, name: str, output: Output, supervised: SupervisedBatch
) -> list[float]:
    """Return the norms of a method's gradient at maps of which none is computed from another."""
    leaves = tuple(tap.detach().requires_grad_(tap.requires_grad) for tap in output.taps)
    student = task.knowledge(output._replace(taps=leaves), supervised.batch.image_size)
    return _norms(list(task.method_terms(name, student, supervised).values()), leaves)


def _norms(terms: list[Tensor], features: Sequence[Tensor]) -> list[float]:
    """Return the gradient norm of a sum of terms at each feature; 0 at those of frozen rows."""
    trained = [feature for feature in features if feature.requires_grad]
    if not trained:
        raise ConfigError(
            "The layers that the methods compare are frozen: there is no gradient to measure.",
            fix="Freeze fewer rows with --freeze, or give the method a number as weight.",
            code="T27",
        )
    total = torch.stack(terms).sum()
    grads = torch.autograd.grad(total, trained, retain_graph=True, allow_unused=True)
    norms = (0.0 if g is None else float(torch.linalg.vector_norm(g.float())) for g in grads)
    return [next(norms) if feature.requires_grad else 0.0 for feature in features]
