"""Size and operation counts of detectors, and the rows of ``tutelage layers``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tutelage.models.detector import Detector
from tutelage.models.graph import GraphDetector
from tutelage.models.meta_device import gflops, image


class ModelCost(NamedTuple):
    """Parameters, and operations per image in 1e9 (two per multiply-add of the convolutions)."""

    parameters: int
    gflops: float


@dataclass(frozen=True, slots=True)
class LayerListing:
    """One row of ``tutelage layers``.

    Attributes:
        index: Row index.
        block: Block name, with its repeats if more than one.
        sources: Keys of the layers that it reads.
        channels: Output channels.
        stride: Pixels per cell (0 for the head).
        size: Height and width of its output at the given image size (of the head: 0, 0).
        level: ``p3`` ... if it is the default tap of a level, ``auxiliary`` if only training runs
            it, else empty.
    """

    index: int
    block: str
    sources: tuple[str, ...]
    channels: int
    stride: int
    size: tuple[int, int]
    level: str


def cost(detector: Detector, image_size: int | tuple[int, int] = 640) -> ModelCost:
    """Count parameters and operations of a detector; it is not folded first.

    Args:
        detector: Any detector; nothing in it changes.
        image_size: Side of a square image, or height and width.
    """
    parameters = list(detector.parameters())
    channels = detector.arch.get("ch", 3) if isinstance(detector, GraphDetector) else 3
    one = image(_pair(image_size), channels)
    # a single value per channel would be too few for BatchNorm in training
    two = one.new_empty((2, *one.shape[1:]), dtype=parameters[0].dtype)
    return ModelCost(sum(p.numel() for p in parameters), gflops(detector, [two]) / 2)


def describe(
    detector: GraphDetector, image_size: int | tuple[int, int] = 640
) -> tuple[LayerListing, ...]:
    """List the layers of a graph with their output sizes, one entry per row, the head last.

    Args:
        detector: The graph.
        image_size: Side of a square image, or height and width.
    """
    height, width = _pair(image_size)
    marks = {key: level for level, key in detector.levels.items()}
    marks.update((str(row), "auxiliary") for row in detector.auxiliary)
    return tuple(
        LayerListing(
            index=int(info.key),
            block=info.block if info.repeats == 1 else f"{info.block} x{info.repeats}",
            sources=info.sources,
            channels=info.channels,
            stride=info.stride,
            size=(height // info.stride, width // info.stride) if info.stride else (0, 0),
            level=marks.get(info.key, ""),
        )
        for info in detector.layers
    )


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
