"""The best epoch of a run, and when to stop because no later one was better."""

from __future__ import annotations

from tutelage.run.checkpoint import RunProgress


class EarlyStopping:
    """Keeps the best AP and its epoch, and stops a run after ``patience`` epochs without a better.

    Args:
        patience: Epochs; 0 is no limit.
        progress: Of a resumed run.

    Attributes:
        value: The best AP so far; -1 before the first evaluation.
        epoch: Its epoch, counted from 0; -1 before the first evaluation.
        scores: All scores of that epoch.
    """

    def __init__(self, patience: int, progress: RunProgress | None = None) -> None:
        self.patience = patience
        self.value = progress.best if progress else -1.0
        self.epoch = progress.best_epoch if progress else -1
        self.scores = dict(progress.best_scores) if progress else {}

    def update(self, epoch: int, scores: dict[str, float]) -> bool:
        """Add the scores of an epoch; return whether they are the best so far."""
        if not scores["AP"] > self.value:  # NaN (a val split without objects) is never better
            return False
        self.value, self.epoch, self.scores = scores["AP"], epoch, dict(scores)
        return True

    def exhausted(self, epoch: int) -> bool:
        """Return whether ``patience`` epochs went by without a better score."""
        return bool(self.patience) and self.epoch >= 0 and epoch - self.epoch >= self.patience
