"""Small detectors, boxes and seeded knowledge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.models.detector import Detector
from tutelage.structures import Knowledge, Output, Predictions, Tap, Targets

SIZE = (48, 80)
GRIDS = ((6, 10), (3, 5))
CHANNELS = ((4, 8), (7, 7))


class Layer(NamedTuple):
    key: str
    stride: int


class FakeDetector(Detector):
    """Offers layers by key; computes nothing."""

    def __init__(
        self, name: str, taps: Mapping[str, tuple[int, int]], levels: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.arch_name = name
        self.names = ("a", "b")
        self.strides = (8, 16, 32)
        self.levels = dict(levels)
        self._taps = {key: Tap(key, *place) for key, place in taps.items()}
        head = str(len(taps))
        self.layers = (*(Layer(t.key, t.stride) for t in self._taps.values()), Layer(head, 0))

    def tap(self, keys: Sequence[str]) -> tuple[Tap, ...]:
        unknown = [key for key in keys if key not in self._taps]
        if unknown:
            raise ConfigError(f"no layer {unknown}")
        return tuple(self._taps[key] for key in keys)

    def forward(self, images: Tensor, taps: Sequence[str] = (), *, head: bool = True) -> Output:
        raise NotImplementedError

    def decode(self, raw: tuple[Tensor, ...], image_size: tuple[int, int]) -> Predictions:
        raise NotImplementedError

    def fused(self) -> FakeDetector:
        raise NotImplementedError


def boxes(rows: Sequence[Sequence[float]], dtype: torch.dtype = torch.float32) -> Targets:
    """Make targets from rows ``image, x1, y1, x2, y2``."""
    table = torch.tensor(rows, dtype=dtype).reshape(-1, 5)
    image = table[:, 0].long()
    return Targets(image, torch.zeros_like(image), table[:, 1:])


SOME_BOXES = boxes([(0, 5, 5, 40, 30), (0, 20, 10, 70, 47), (1, 0, 0, 9, 9)])
NO_BOXES = boxes([])


def knowledge(
    images: int, widths: Sequence[int], seed: int, dtype: torch.dtype = torch.float32
) -> Knowledge:
    """Draw channels-last features on GRIDS."""
    generator = torch.Generator().manual_seed(seed)
    return Knowledge(
        tuple(
            torch.randn(images, width, *grid, generator=generator)
            .to(dtype)
            .to(memory_format=torch.channels_last)
            for width, grid in zip(widths, GRIDS, strict=True)
        )
    )


def masks_by_loop(
    targets: Targets, batch: int, map_hw: tuple[int, int], image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Compute ``object_masks`` box by box."""
    foreground = torch.zeros(batch, *map_hw, dtype=torch.float64)
    for image, box in zip(targets.image.tolist(), targets.xyxy.tolist(), strict=True):
        cells, spans = 1, []
        for axis in (1, 0):
            size, count = image_size[1 - axis], map_hw[1 - axis]
            low, high = (min(max(box[axis + end], 0), size) for end in (0, 2))
            if low >= high and [low, high] != [box[axis], box[axis + 2]]:
                break
            first, last = math.floor(low * count / size), math.ceil(high * count / size)
            cells *= last - first + 1
            spans.append(slice(first, last + 1))
        else:
            part = foreground[image][tuple(spans)]
            part.clamp_(min=1 / cells)
    background = (foreground == 0).double()
    count = background.sum((1, 2), keepdim=True).clamp(min=1)
    return foreground[:, None], (background / count)[:, None]
