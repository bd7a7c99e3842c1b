"""Teachers of our own families: YOLOv7 and YOLOv5 graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tutelage.models.detector import Detector
from tutelage.structures import Knowledge, Tap


class NativeTeacher:
    """A fused, channels-last copy of a detector that stops at its last tap.

    Args:
        detector: The trained network; left as it is.
        taps: Layer keys to share, in pair order.
        device: Where it runs.
        dtype: Its precision; half precision where the device is fast at it.
    """

    def __init__(
        self,
        detector: Detector,
        taps: Sequence[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.names: tuple[str, ...] = tuple(detector.names)
        self.taps: tuple[Tap, ...] = detector.tap(taps)
        self._keys = tuple(tap.key for tap in self.taps)
        self._dtype = dtype
        network = detector.fused().eval().requires_grad_(False).to(device=device, dtype=dtype)
        self._network = network.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Return features ``(b, c, h, w)`` per tap and, on request, decoded predictions."""
        with torch.autocast(images.device.type, enabled=False):
            out = self._network(images.to(self._dtype), self._keys, head=predictions)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        if out.raw is None:
            return Knowledge(out.taps)
        raw = tuple(level.float() for level in out.raw)  # half has pixels of 1 beyond 1024
        return Knowledge(out.taps, self._network.decode(raw, size))

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        yield from self._network.state_dict().items()
