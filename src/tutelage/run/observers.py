"""Ordinary code that watches a run: loss means, the guard against NaN, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from tutelage.errors import TrainingError
from tutelage.structures import Losses
from tutelage.train.schedule import Position

Means = Mapping[str, float]

CHECK_EVERY = 20  # steps between looks at the device; a look waits for it
IMAGES = 8  # named where a loss is not finite


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


class WatchedStep(NamedTuple):
    """One step: where, its detached losses, and the ids of its images."""

    epoch: int
    step: int
    losses: Losses
    ids: Tensor | None


class FiniteGuard:
    """Stops a run whose loss or weights are NaN or infinite, naming the term, step and images.

    Losses are looked at every few steps: a look waits for the device. Before anything is saved,
    :meth:`look` and :meth:`weights` are asked, so that the last good files stay.

    Args:
        folder: The run folder, for the message.
        every: Steps between looks at the losses.
        image: Returns the file of an image by its id.

    Attributes:
        saved: What ``last.pt`` holds; None: there is none yet.
        best: The epoch of ``best.safetensors``, counted from 0; -1: there is none yet.
    """

    def __init__(
        self, folder: str, every: int = 1, image: Callable[[int], str] = "image {}".format
    ) -> None:
        self._folder, self._every, self._image = folder, every, image
        self._seen: list[WatchedStep] = []
        self.saved: Position | None = None
        self.best = -1

    def watch(self, losses: Losses, epoch: int, step: int, ids: Tensor | None = None) -> None:
        """Take in one step's losses.

        Args:
            losses: Detached, on the device.
            epoch: Counted from 1.
            step: Counted from 1 within the epoch.
            ids: ``(b,)`` the images of the step.

        Raises:
            TrainingError: A term is not finite.
        """
        self._seen.append(WatchedStep(epoch, step, losses, ids))
        if len(self._seen) >= self._every:
            self.look()

    def look(self) -> None:
        """Look at the losses taken in since the last look.

        Raises:
            TrainingError: A term is not finite; the first step where it is so is told.
        """
        seen, self._seen = self._seen, []
        values = [value for one in seen for group in one.losses for value in group.values()]
        if not values or bool(torch.stack([v.float() for v in values]).isfinite().all()):
            return
        for one in seen:
            terms = {name: float(v) for group in one.losses for name, v in group.items()}
            bad = {name: value for name, value in terms.items() if not math.isfinite(value)}
            if bad:
                raise self._told(one, bad, {n: v for n, v in terms.items() if n not in bad})

    def _told(
        self, seen: WatchedStep, bad: Mapping[str, float], good: Mapping[str, float]
    ) -> TrainingError:
        """Return the error of a step: terms, the state of all others, images, files, cures."""
        others = ", ".join(f"{name} {value:.3g}" for name, value in good.items())
        state = f"all others finite: {others}" if good else "no other term is finite"
        what = (
            f"{', '.join(bad)} became {next(iter(bad.values())):g}"
            if good
            else (f"all terms became {next(iter(bad.values())):g}")
        )
        what += f" at epoch {seen.epoch} step {seen.step}" + (f" ({state})" if good else "")
        ids = [] if seen.ids is None else seen.ids.tolist()
        files = [self._image(number) for number in ids[:IMAGES]]
        more = f" and {len(ids) - IMAGES} more" if len(ids) > IMAGES else ""
        where = f"\nIts images (a mosaic mixes in others): {', '.join(files)}{more}." * bool(files)
        return TrainingError(f"{what}. {self._kept()}{where}", fix=_cures([*bad]), code="R14")

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
        best = f", best.safetensors from epoch {self.best + 1}" if self.best >= 0 else ""
        return f"Stopped. In {self._folder} last.pt is from {self.saved.in_words()}{best}."


def _cures(names: list[str]) -> str:
    cures = "Usual cures:  --set optim.lr=…  lower,  --precision bf16  or  fp32  instead of fp16"
    kd = next((name for name in names if "/" in name), None)
    return f"{cures},  --set distill.ratio=…  smaller." if kd else f"{cures}."


class EarlyStopping:
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
