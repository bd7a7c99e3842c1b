"""Teachers of our own families: YOLOv7 and YOLOv5 graphs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from tutelage.models.detector import Detector
from tutelage.structures import Knowledge, Tap


class NativeTeacher:
    """A fused, channels-last copy of a detector that stops at its last tap.

    Args:
        detector: The trained network; left as it is.
        taps: Layer keys to share, in pair order; empty for those of its pyramid levels.
        device: Where it runs.
        dtype: Its precision; half precision where the device is fast at it.
        record: What identifies its weights.

    Attributes:
        network: The fused copy; all its layers can be tapped.
    """

    def __init__(
        self,
        detector: Detector,
        taps: Sequence[str] = (),
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.title = str(getattr(detector, "arch_name", type(detector).__name__))
        self.names: tuple[str, ...] = tuple(detector.names)
        self.stride = max(detector.strides)
        self.record = dict(record or {})
        network = detector.fused().eval().requires_grad_(False).to(device=device, dtype=dtype)
        self.network = network.to(memory_format=torch.channels_last)
        self._dtype = dtype
        self._share(taps or tuple(detector.levels.values()))

    @torch.no_grad()
    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Return features ``(b, c, h, w)`` per tap and, on request, decoded predictions."""
        with torch.autocast(images.device.type, enabled=False):
            out = self.network(images.to(self._dtype), self._keys, head=predictions)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        if out.raw is None:
            return Knowledge(out.taps)
        raw = tuple(level.float() for level in out.raw)  # half has pixels of 1 beyond 1024
        return Knowledge(out.taps, self.network.decode(raw, size))

    def sharing(self, keys: Sequence[str]) -> Self:
        """Return the same network sharing other layers, in the order of ``keys``.

        Raises:
            ConfigError: A layer does not exist.
        """
        other = copy.copy(self)
        other._share(keys)
        return other

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        yield from self.network.state_dict().items()

    def _share(self, keys: Sequence[str]) -> None:
        self.taps: tuple[Tap, ...] = self.network.tap(keys)
        self._keys = tuple(tap.key for tap in self.taps)
