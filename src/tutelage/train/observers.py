"""Ordinary code that watches a run: loss means, the guard against NaN, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from tutelage.errors import TrainingError
from tutelage.structures import Losses
from tutelage.train.plan import Position

Means = Mapping[str, float]

CHECK_EVERY = 20  # steps between looks at the device; a look waits for it


class LossMeans:
    """Means of every loss term over an epoch, kept on the device until asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._last: Losses | None = None
        self._added = 0
        self._share: float | None = None

    def add(self, losses: Losses) -> None:
        """Add the detached losses of one step."""
        self._last, self._added, self._steps = losses, self._added + 1, self._steps + 1
        for group in losses:
            for name, value in group.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def state(self) -> dict[str, object]:
        """Return what an epoch has added up so far, to be saved."""
        return {"steps": self._steps, "sums": dict(self._sums)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what :meth:`state` returned."""
        self._steps, self._sums = state["steps"], dict(state["sums"])

    def take(
        self, gather: Callable[[list[Means]], Sequence[Means]] = lambda x: x
    ) -> dict[str, float]:
        """Return the means over all steps and start anew.

        A term that did not speak in a step counts as 0 there: a teacher to which no image of the
        batch was left.

        Args:
            gather: Returns what all processes give it. They may hold other terms, in another order.
        """
        sums = [total.float() for total in self._sums.values()]
        values = (torch.stack(sums) / self._steps).tolist() if sums else []
        here = dict(zip(self._sums, values, strict=True))
        self._sums, self._steps = {}, 0
        everywhere = gather([here])
        names = dict.fromkeys(name for one in everywhere for name in one)
        return {
            name: sum(one.get(name, 0.0) for one in everywhere) / len(everywhere) for name in names
        }

    def kd_share(self, factor: Callable[[str], float]) -> float:
        """Return the KD part of the total loss, read off the device every ten steps.

        Args:
            factor: The schedule's factor of a method at this step.
        """
        if self._last is not None and (self._added % 10 == 1 or self._share is None):
            detection = sum(float(value) for value in self._last.detection.values())
            kd = sum(
                factor(name.partition("/")[0]) * float(value)
                for name, value in self._last.distillation.items()
            )
            self._share = kd / max(kd + detection, 1e-30)
        return self._share or 0.0


def shared(state: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """Return what :meth:`LossMeans.state` of all processes has added up, as a mean over them.

    To be asked by each of them. All go on with the same, and the means of the epoch stay.

    Args:
        state: Of this process.
        processes: How many there are.
    """
    if processes == 1:
        return dict(state)
    sums = {name: total.float().cpu() for name, total in state["sums"].items()}
    everywhere = gather_object([sums])
    names = dict.fromkeys(name for one in everywhere for name in one)
    means = {
        name: sum(one.get(name, torch.zeros(())) for one in everywhere) / processes
        for name in names
    }
    return {"steps": state["steps"], "sums": means}


class FiniteGuard:
    """Stops a run whose loss or weights are NaN or infinite, naming the term.

    Losses are looked at every few steps: a look waits for the device. Before anything is saved,
    :meth:`look` and :meth:`weights` are asked, so that the last good files stay.

    Args:
        folder: The run folder, for the message.
        every: Steps between looks at the losses.
    """

    def __init__(self, folder: str, every: int = 1) -> None:
        self._folder = folder
        self._every = every
        self._bad: dict[str, Tensor] = {}
        self._last: tuple[Losses, int, int] | None = None
        self._steps = 0
        self.saved: Position | None = None

    def watch(self, losses: Losses, epoch: int, step: int) -> None:
        """Take in one step's losses.

        Raises:
            TrainingError: A term is not finite.
        """
        self._steps += 1
        self._last = (losses, epoch, step)
        for group in losses:
            for name, value in group.items():
                bad = ~torch.isfinite(value)
                self._bad[name] = bad | self._bad[name] if name in self._bad else bad
        if self._steps % self._every == 0:
            self.look()

    def look(self) -> None:
        """Look at the losses taken in since the last look.

        Raises:
            TrainingError: A term is not finite.
        """
        names = [name for name, bad in self._bad.items() if bool(bad)]
        self._bad = {}
        if names and self._last is not None:
            losses, epoch, step = self._last
            value = next((float(g[n]) for g in losses for n in names if n in g), float("nan"))
            whole = len(names) > 1 and len(names) == sum(map(len, losses))
            told = "all terms" if whole else ", ".join(names)
            what = f"{told} became {value:g} at epoch {epoch} step {step}. {self._kept()}"
            raise TrainingError(what, fix=_cures(names), code="R14")

    def weights(self, modules: Iterable[nn.Module], epoch: int) -> None:
        """Look at all parameters and buffers: a finite loss may still have had a bad gradient.

        Raises:
            TrainingError: One is not finite.
        """
        held = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        finite = [torch.isfinite(t).all() for t in held if t.is_floating_point()]
        if finite and not bool(torch.stack(finite).all()):
            what = f"The weights are not finite any more at the end of epoch {epoch}. "
            raise TrainingError(what + self._kept(), fix=_cures([]), code="R14")

    def _kept(self) -> str:
        if self.saved is None:
            return f"Stopped. Nothing was saved yet; {self._folder} holds the settings."
        return f"Stopped. The files in {self._folder} are from {self.saved.in_words()}."


def _cures(names: list[str]) -> str:
    cures = "Usual cures: lower --set optim.lr=…, --precision bf16 or fp32 instead of fp16"
    kd = next((name for name in names if "/" in name), None)
    return f"{cures}, a smaller --set distill.ratio=…" if kd else f"{cures}."


class Best:
    """The best score so far, and whether patience has run out."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.value = -1.0
        self.epoch = -1
        self.scores: dict[str, float] = {}

    def update(self, epoch: int, scores: dict[str, float]) -> bool:
        """Take in an evaluation; return True if it is the best so far."""
        if not scores["AP"] > self.value:  # NaN (a val split without objects) is never better
            return False
        self.value, self.epoch, self.scores = scores["AP"], epoch, dict(scores)
        return True

    def exhausted(self, epoch: int) -> bool:
        """Whether ``patience`` epochs went by without a better score."""
        return bool(self.patience) and self.epoch >= 0 and epoch - self.epoch >= self.patience
