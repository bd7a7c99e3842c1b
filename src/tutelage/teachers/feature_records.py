"""Feature maps of a teacher as records: eight bits per value, a range per channel and image."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tutelage.structures import Records, Tap

Precision = Literal["int8", "float16"]
_STEPS = 255


class FeatureFormat(NamedTuple):
    """How the maps of one teacher are stored, channels last.

    Attributes:
        taps: The maps, in order.
        zoom: They are of images so many times as large as the canvas.
        precision: ``int8``: 255 equal steps from the smallest to the largest value of each channel
            of an image, so that the error is at most 1/510 of that range; or ``float16``.
    """

    taps: tuple[Tap, ...]
    precision: Precision = "int8"
    zoom: float = 1.0

    def describe(self) -> dict[str, str]:
        """Return what a store of this format holds, for its description."""
        taps = " ".join(f"{tap.key}:{tap.channels}/{tap.stride}" for tap in self.taps)
        return {"holds": f"features {taps} as {self.precision}"}

    def length(self, size: tuple[int, int]) -> int:
        """Return the bytes of a record on a canvas of height and width ``size``."""
        return sum(self._tap_length(tap, size) for tap in self.taps)

    def encode(self, features: tuple[Tensor, ...]) -> Records:
        """Return a record per image of maps ``(b, c, h, w)``, one per tap."""
        parts = [self._encode_map(x.detach().permute(0, 2, 3, 1)) for x in features]
        content = torch.cat(parts, 1)
        lengths = torch.full((len(content),), content.shape[1], dtype=torch.int64)
        return Records(content.flatten().cpu(), lengths)

    def decode(self, records: Records, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Return the float32 maps ``(b, c, h, w)`` of complete records, channels last in memory."""
        table = records.content.view(len(records.length), -1)
        lengths = [self._tap_length(tap, size) for tap in self.taps]
        parts = table.split(lengths, 1)
        return tuple(
            self._decode_map(part, tap, size) for part, tap in zip(parts, self.taps, strict=True)
        )

    def _grid(self, tap: Tap, size: tuple[int, int]) -> tuple[int, int]:
        height, width = (round(side * self.zoom) // tap.stride for side in size)
        return height, width

    def _tap_length(self, tap: Tap, size: tuple[int, int]) -> int:
        height, width = self._grid(tap, size)
        values = height * width * tap.channels
        return 2 * values if self.precision == "float16" else values + 8 * tap.channels

    def _encode_map(self, x: Tensor) -> Tensor:
        """Return ``(b, bytes)`` of a map ``(b, h, w, c)``: lows and steps of the channels first."""
        if self.precision == "float16":
            return x.to(torch.float16).contiguous().flatten(1).view(torch.uint8)
        low, high = x.float().aminmax(dim=2)
        low, high = low.amin(1), high.amax(1)
        step = (high - low) / _STEPS
        scaled = (x.float() - low[:, None, None]) / step.clamp(min=1e-12)[:, None, None]
        levels = scaled.round_().clamp_(0, _STEPS).to(torch.uint8)
        return torch.cat((low.view(torch.uint8), step.view(torch.uint8), levels.flatten(1)), 1)

    def _decode_map(self, part: Tensor, tap: Tap, size: tuple[int, int]) -> Tensor:
        shape = (-1, *self._grid(tap, size), tap.channels)
        if self.precision == "float16":
            return part.contiguous().view(torch.float16).view(shape).float().permute(0, 3, 1, 2)
        low, step, levels = part.split(
            [4 * tap.channels, 4 * tap.channels, part.shape[1] - 8 * tap.channels], 1
        )
        low, step = (each.contiguous().view(torch.float32)[:, None, None] for each in (low, step))
        return torch.addcmul(low, levels.view(shape), step).permute(0, 3, 1, 2)
