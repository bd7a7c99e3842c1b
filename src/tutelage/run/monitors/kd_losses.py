"""Warns of distillation losses that are constant, or far from the detection loss in size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from tutelage.errors import TrainingError
from tutelage.run.events import EpochDone, Event, Notice
from tutelage.run.kd_weights import due_steps
from tutelage.training.schedule import Schedule

# Relative, over three epoch means. In 41 runs of 14 methods no term ever moved by less than 2e-3.
CONSTANT = 1e-4
# KD / detection. In those runs 0.16 to 4 once the weight was frozen; 2 to 3 were common and among
# the best, so that twice the detection loss is no fault. Weights meant for another reduction are
# wrong by factors of 1e3 to 1e6.
USUAL = (0.01, 10.0)
HOPELESS = (1e-4, 100.0)
HOPELESS_STEPS = 100  # steps before a run is ended for it


class ConstantTermMonitor:
    """Warns of a constant term: its modules do not train, or the teacher's output is constant."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._past: dict[str, deque[float]] = {}

    def check(self, event: Event) -> Notice | None:
        """Compare the means of an epoch with those of the two before."""
        if not isinstance(event, EpochDone):
            return None
        constant: list[str] = []
        for name, method, value in _kd_terms(event):
            past = self._past.setdefault(name, deque(maxlen=3))
            past.append(value / self._weights[method])
            if len(past) == 3 and max(past) - min(past) <= CONSTANT * abs(past[-1]):
                constant.append(name)
                past.clear()  # warn again after three more epochs, if it lasts
        if not constant:
            return None
        return Notice(
            "warning",
            f"{', '.join(constant)} did not change over 3 epochs: either nothing trains behind it, "
            "or the teacher says the same of every image.",
            "T30",
        )


class LossShareMonitor:
    """Compares the loss of each method with the detection loss.

    A fixed weight is checked after warm-up. With ``weight: auto`` the ratio of the gradients is
    what the settings ask for, and the share of the loss depends on the method's formula: once the
    weight is frozen, it warns only of shares that would end a run with a fixed weight. Decay by
    schedule is not counted.

    Args:
        weights: The current weight per method.
        fixed: Methods whose weight is a number.
        schedule: The schedule.
    """

    def __init__(self, weights: Mapping[str, float], fixed: set[str], schedule: Schedule) -> None:
        self._weights, self._fixed, self._schedule = weights, fixed, schedule
        self._frozen = max(schedule.warmup_steps, *due_steps(schedule), 0)
        self._reported: set[str] = set()

    def check(self, event: Event) -> Notice | None:
        """Check the means of an epoch; warn once per method.

        Raises:
            TrainingError: A method with a fixed weight has no effect, or detection has none.
        """
        if not isinstance(event, EpochDone):
            return None
        first_step = self._schedule.step_at(event.epoch, 0)
        detection = sum(value for name, value in event.losses.items() if "/" not in name)
        sums: dict[str, float] = {}
        for _, method, value in _kd_terms(event):
            sums[method] = sums.get(method, 0.0) + value
        unusual: list[str] = []
        for method, value in sums.items():
            fixed, share = method in self._fixed, value / max(detection, 1e-30)
            if first_step < (self._schedule.warmup_steps if fixed else self._frozen):
                continue
            what = (
                f"{method} adds {share:.2g} times the detection loss "
                f"(weight {self._weights[method]:.4g})"
            )
            late = first_step + self._schedule.steps >= HOPELESS_STEPS
            if fixed and late and not HOPELESS[0] <= share <= HOPELESS[1]:
                raise TrainingError(
                    f"{what}: {'it teaches nothing' if share < 1 else 'nothing else counts'}.",
                    fix=f"Let it be measured:  --method {method}  without a weight. Published "
                    "weights belong to their own reduction:  tutelage methods",
                    code="T27",
                )
            low, high = USUAL if fixed else HOPELESS
            if method not in self._reported and not low <= share <= high:
                unusual.append(f"{what}; {low:g} to {high:g} times is usual")
                self._reported.add(method)
        if not unusual:
            return None
        text = f"{', '.join(unusual)}. tutelage doctor  measures what suits."
        return Notice("warning", text, "T27")


def _kd_terms(event: EpochDone) -> Iterator[tuple[str, str, float]]:
    """Yield name, method and mean of every distillation term."""
    for name, value in event.losses.items():
        if "/" in name:
            yield name, name.partition("/")[0], value
