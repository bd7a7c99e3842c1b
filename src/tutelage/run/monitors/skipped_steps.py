"""Warns when the gradient scaler of float16 skips many steps."""

from __future__ import annotations

from tutelage.run.events import EpochDone, Event, Notice, StepDone
from tutelage.setup.build import RunParts

SKIPPED = 0.05  # of the steps of an epoch
SEARCHING = 8  # steps that a gradient scaler may need to find its first scale


class SkippedStepMonitor:
    """Counts the optimizer steps of an epoch that were skipped."""

    def __init__(self, parts: RunParts) -> None:
        self._accelerator, self._optimizer = parts.accelerator, parts.optimizer
        self._steps = self._skipped = 0

    def check(self, event: Event) -> Notice | None:
        """Count a step; warn at the end of an epoch."""
        if isinstance(event, StepDone) and self._accelerator.sync_gradients:
            self._steps += 1
            self._skipped += bool(getattr(self._optimizer, "step_was_skipped", False))
        if not isinstance(event, EpochDone):
            return None
        steps, skipped = self._steps, self._skipped
        self._steps = self._skipped = 0
        if skipped <= max(SKIPPED * steps, SEARCHING):
            return None
        return Notice(
            "warning",
            f"{skipped} of {steps} steps of epoch {event.epoch + 1} were skipped by the gradient "
            "scaler: gradients overflow in float16, and nothing is learnt from these steps. "
            "Use  --precision bf16  or  fp32",
            "R25",
        )
