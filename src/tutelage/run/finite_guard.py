"""Stops a run whose loss or weights became NaN or infinite, before they are saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.errors import TrainingError
from tutelage.structures import Losses
from tutelage.training.schedule import Position

CHECK_EVERY = 20  # steps between checks of the losses on a GPU, each of which waits for it
IMAGES = 8  # named in the message


class StepLosses(NamedTuple):
    """One step, epoch and step counted from 1: its detached losses and the ids of its images."""

    epoch: int
    step: int
    losses: Losses
    ids: Tensor | None


class FiniteGuard:
    """Raises when a loss or a weight is not finite, naming the term, step and images.

    Losses are checked every few steps because a check waits for the device. Call
    :meth:`check_losses` and :meth:`check_weights` before each save, so that files stay finite.

    Args:
        folder: The run folder, for the message.
        every: Steps between checks of the losses.
        image: Returns the file of an image by its id.

    Attributes:
        saved: The position in ``last.pt``; None if there is no such file yet.
        best: The epoch of ``best.safetensors``, counted from 0; -1 if there is no such file yet.
    """

    def __init__(
        self, folder: str, every: int = 1, image: Callable[[int], str] = "image {}".format
    ) -> None:
        self._folder, self._every, self._image = folder, every, image
        self._unchecked: list[StepLosses] = []
        self.saved: Position | None = None
        self.best = -1

    def add(self, losses: Losses, epoch: int, step: int, ids: Tensor | None = None) -> None:
        """Add the losses of one step; check them with those before if it is time.

        Args:
            losses: Detached, on the device.
            epoch: Counted from 1.
            step: Counted from 1 within the epoch.
            ids: ``(b,)`` ids of the images of the step.

        Raises:
            TrainingError: A term is not finite.
        """
        self._unchecked.append(StepLosses(epoch, step, losses, ids))
        if len(self._unchecked) >= self._every:
            self.check_losses()

    def check_losses(self) -> None:
        """Check the losses added since the last check.

        Raises:
            TrainingError: A term is not finite; names the first such step.
        """
        steps, self._unchecked = self._unchecked, []
        values = [value for step in steps for group in step.losses for value in group.values()]
        if not values or bool(torch.stack([v.float() for v in values]).isfinite().all()):
            return
        for step in steps:
            terms = {name: float(v) for group in step.losses for name, v in group.items()}
            if not all(map(math.isfinite, terms.values())):
                raise self._error(step, terms)

    def check_weights(self, modules: Iterable[nn.Module], epoch: int) -> None:
        """Check all parameters and buffers: a finite loss may have had an infinite gradient.

        Raises:
            TrainingError: One is not finite.
        """
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        finite = [torch.isfinite(t).all() for t in tensors if t.is_floating_point()]
        if finite and not bool(torch.stack(finite).all()):
            what = f"The weights are not finite any more at the end of epoch {epoch}. "
            raise TrainingError(what + self._saved_files(), fix=_advice([]), code="R14")

    def _error(self, step: StepLosses, terms: dict[str, float]) -> TrainingError:
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        others = ", ".join(f"{n} {value:.3g}" for n, value in terms.items() if n not in bad)
        where = f"became {terms[bad[0]]:g} at epoch {step.epoch} step {step.step}"
        if others:
            what = f"{', '.join(bad)} {where} (all others finite: {others})"
        else:
            what = f"all terms {where}"
        images = ""
        if step.ids is not None:
            ids = step.ids.tolist()
            more = f" and {len(ids) - IMAGES} more" if len(ids) > IMAGES else ""
            files = ", ".join(map(self._image, ids[:IMAGES]))
            images = f"\nIts images (a mosaic mixes in others): {files}{more}."
        what = f"{what}. {self._saved_files()}{images}"
        return TrainingError(what, fix=_advice(bad), code="R14")

    def _saved_files(self) -> str:
        if self.saved is None:
            return f"Stopped. Nothing was saved yet; {self._folder} holds the settings."
        best = f", best.safetensors from epoch {self.best + 1}" if self.best >= 0 else ""
        return f"Stopped. In {self._folder} last.pt is from {self.saved.in_words()}{best}."


def _advice(terms: Sequence[str]) -> str:
    text = "Usual cures:  --set optim.lr=…  lower,  --precision bf16  or  fp32  instead of fp16"
    if any("/" in name for name in terms):
        text += ",  --set distill.ratio=…  smaller"
    return f"{text}."
