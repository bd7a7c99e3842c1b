"""Base class of teachers from other libraries."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn

from tutelage.errors import ConfigError, TeacherError, UserError, nearest
from tutelage.structures import Knowledge, Predictions, Tap, height_width

Forward = Callable[[Tensor, bool], tuple[Sequence[Tensor], Predictions | None]]

BASE_STRIDE = 32  # of pyramids: all levels must fit, also those that are not tapped
PROBE_HW = (128, 256)  # unequal, to detect transposed maps; a level of stride 128 still fits
EPSILON = 1e-6
ABSENT = math.log(EPSILON / (1 - EPSILON))  # logit of a score of about 0


class ForeignTeacher:
    """A frozen network of another library, in float32 and with its own normalisation.

    Args:
        network: The network. It is frozen in place.
        forward: From normalised images ``(b, 3, h, w)``, and whether predictions are needed, to
            maps ``(b, c, h / s, w / s)``, always the same in the same order, and predictions.
        title: Its name in messages.
        names: Class names.
        mean: Subtracted from images in 0..1, per channel.
        std: Divisor, per channel.
        bgr: Whether it was trained on BGR images; ``mean`` and ``std`` are in that order, too.
        keys: A name per map. None: ``p3`` for stride 8 and so on, without maps that are no exact
            fraction of the image, and without further maps of a stride.
        record: Identifies its weights.
        device: Where it runs.
        probe_hw: Size of the blank image from which channels and strides are derived.

    Raises:
        ConfigError: A named map is not a map of the image, or none is.
        TeacherError: The network fails on the blank image, as it may on images later.
    """

    def __init__(
        self,
        network: nn.Module,
        forward: Forward,
        *,
        title: str,
        names: Sequence[str],
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        bgr: bool = False,
        keys: Sequence[str] | None = None,
        record: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        probe_hw: tuple[int, int] = PROBE_HW,
    ) -> None:
        self.title = title
        self.names: tuple[str, ...] = tuple(names)
        images = {"mean": list(mean), "std": list(std), "bgr": bgr}
        self.record = {**(record or {}), "images": images}
        self.network = network.eval().requires_grad_(False).to(device, torch.float32)
        self._forward, self._bgr = forward, bgr
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
            for values in (mean, std)
        )
        maps = self._run(torch.zeros(1, 3, *probe_hw, device=device), False)[0]
        self._all = _taps(maps, keys, probe_hw)
        self._share(tuple(tap.key for tap in self._all.values()))

    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Return features ``(b, c, h, w)`` per tap and, on request, decoded predictions."""
        maps, decoded = self._run(images, predictions)
        return Knowledge(tuple(maps[number] for number in self._numbers), decoded)

    def sharing(self, keys: Sequence[str]) -> Self:
        """Return the same network with other taps, in the order of ``keys``.

        Raises:
            ConfigError: A tap does not exist.
        """
        other = copy.copy(self)
        other._share(keys)
        return other

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        yield from self.network.state_dict().items()

    @torch.no_grad()
    def _run(
        self, images: Tensor, predictions: bool
    ) -> tuple[Sequence[Tensor], Predictions | None]:
        images = images.flip(1) if self._bgr else images
        with torch.autocast(images.device.type, enabled=False):
            try:
                return self._forward((images.float() - self._mean) / self._std, predictions)
            except (UserError, MemoryError):
                raise
            except Exception as error:  # another library may fail in any way
                if should_reduce_batch_size(error):  # out of memory
                    raise
                h, w = height_width(images)
                reason = (str(error).strip().splitlines() or [""])[0]
                raise TeacherError(
                    f"{self.title} fails on images of {h}×{w} px: {type(error).__name__}: {reason}",
                    fix="If they are too small or too large for it:  --img-size",
                    code="T26",
                ) from error

    def _share(self, keys: Sequence[str]) -> None:
        places = {tap.key: number for number, tap in self._all.items()}
        for key in keys:
            if key not in places:
                what = f"{self.title} has no tap '{key}'"
                raise ConfigError(
                    what, fix=f"{nearest(key, places)} Taps: {' '.join(places)}", code="T06"
                )
        self._numbers = [places[key] for key in keys]
        self.taps: tuple[Tap, ...] = tuple(self._all[number] for number in self._numbers)
        self.stride = math.lcm(BASE_STRIDE, *(tap.stride for tap in self.taps))


def log_odds(score: Tensor) -> Tensor:
    """Return the logits whose sigmoid is ``score``, finite also at 0 and 1."""
    return score.float().logit(EPSILON)


def level_index(sizes: Sequence[int]) -> Tensor:
    """Return ``(n,)`` int64, the level of each candidate, from the candidates per level."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def _taps(
    maps: Sequence[Tensor], keys: Sequence[str] | None, probe_hw: tuple[int, int]
) -> dict[int, Tap]:
    """Return the taps by the number of their map, finest first."""
    taps: dict[int, Tap] = {}
    for number, feature in enumerate(maps):
        stride = _stride(feature, probe_hw)
        if keys is not None:
            if not stride:
                what = f"The output of '{keys[number]}' is no map of the image"
                shape = list(feature.shape) if isinstance(feature, Tensor) else type(feature)
                fix = f"For an image of {list(probe_hw)} it is {shape}, not (b, c, h / s, w / s)."
                raise ConfigError(what, fix=fix)
            taps[number] = Tap(keys[number], feature.shape[1], stride)
        elif stride and stride not in (tap.stride for tap in taps.values()):
            taps[number] = Tap(f"p{round(math.log2(stride))}", feature.shape[1], stride)
    if not taps:
        raise ConfigError(
            "The network has no feature map whose size is a fraction of the image's", code="T26"
        )
    return dict(sorted(taps.items(), key=lambda item: item[1].stride))


def _stride(feature: Any, probe_hw: tuple[int, int]) -> int:
    """Return the stride of a map; 0 if it is no map of the image."""
    if not isinstance(feature, Tensor) or feature.ndim != 4 or not min(feature.shape):
        return 0
    (height, width), (h, w) = probe_hw, feature.shape[-2:]
    exact = height % h == 0 and width % w == 0 and height // h == width // w
    return height // h if exact else 0
