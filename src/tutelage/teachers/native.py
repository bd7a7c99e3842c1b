"""YOLOv7 and YOLOv5 graphs as teachers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from tutelage.models.detector import Detector
from tutelage.structures import Knowledge, Predictions, Tap, height_width
from tutelage.teachers.runtimes import Forward


class NativeTeacher:
    """A fused, channels-last copy of a detector that stops at its last tap.

    Args:
        detector: The trained network; left as it is.
        taps: Keys of the layers to return, in pair order; empty for its pyramid levels.
        device: Where it runs.
        dtype: Its precision.
        record: Identifies its weights.

    Attributes:
        network: The fused copy; all its layers can be tapped.
        runtime: How it is run, see :func:`~tutelage.teachers.runtimes.make_forward`.
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
        self.run_by("torch", self.network)
        self._share(taps or tuple(detector.levels.values()))

    @torch.no_grad()
    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Return features ``(b, c, h, w)`` per tap and, on request, decoded predictions."""
        size = height_width(images)
        with torch.autocast(images.device.type, enabled=False):
            out = self._forward(images.to(self._dtype), self._keys, head=predictions)
        decoded = None if out.raw is None else self._decode(out.raw, size)
        return Knowledge(out.taps, decoded, partial(self._resume, self._keys, size))

    def sharing(self, keys: Sequence[str]) -> Self:
        """Return the same network with other taps, in the order of ``keys``.

        Raises:
            ConfigError: A layer does not exist.
        """
        other = copy.copy(self)
        other._share(keys)
        return other

    def run_by(self, runtime: str, forward: Forward) -> None:
        """Run the network another way: its features and predictions, not what follows given maps.

        Args:
            runtime: The name of this way.
            forward: What is called in place of the network, with the same arguments.
        """
        self.runtime, self._forward = runtime, forward

    def reference(self) -> Self:
        """Return the same teacher, run by torch."""
        other = copy.copy(self)
        other.run_by("torch", self.network)
        return other

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        yield from self.network.state_dict().items()

    def _resume(
        self, keys: Sequence[str], size: tuple[int, int], features: Sequence[Tensor | None]
    ) -> Predictions:
        """Run the layers after the given features; None: the teacher's own is kept."""
        given = {
            key: feature.to(self._dtype)
            for key, feature in zip(keys, features, strict=True)
            if feature is not None
        }
        device = next(iter(given.values())).device.type
        with torch.autocast(device, enabled=False):
            return self._decode(self.network.resume(given), size)

    def _decode(self, raw: Sequence[Tensor], size: tuple[int, int]) -> Predictions:
        # Above 1024, float16 resolves whole pixels only.
        return self.network.decode(tuple(level.float() for level in raw), size)

    def _share(self, keys: Sequence[str]) -> None:
        self.taps: tuple[Tap, ...] = self.network.tap(keys)
        self._keys = tuple(tap.key for tap in self.taps)
