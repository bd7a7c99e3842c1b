"""What every detector offers: features as return values, decoding, a deploy copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from tutelage.errors import ConfigError
from tutelage.structures import Output, Predictions, Tap
from tutelage.weights.header import image_size_of


class Detector(nn.Module, ABC):
    """A network that finds objects and shows the features it is asked for.

    Attributes:
        names: The class names, in the order of the class channels.
        strides: Pixels per cell of each raw output, one per pyramid level.
        levels: The default tap of each level, e.g. ``{"p3": "75", "p4": "88", "p5": "101"}``.
        metadata: What its weight file says of its training: image size, scores, …; it is written
            to files made from it.
    """

    names: tuple[str, ...]
    strides: tuple[int, ...]
    levels: Mapping[str, str]
    metadata: Mapping[str, Any] = MappingProxyType({})

    @property
    def image_size(self) -> int | None:
        """The image size it was trained with, in pixels; None if it is not known."""
        return image_size_of(self.metadata)

    @abstractmethod
    def forward(self, images: Tensor, taps: Sequence[str] = (), *, head: bool = True) -> Output:
        """Run the network.

        Args:
            images: ``(b, 3, h, w)`` RGB in 0..1; both sides multiples of the largest stride.
            taps: Keys of the layers whose outputs are wanted.
            head: With False, stop at the layer where the last tap is captured.

        Returns:
            The raw outputs (None with ``head=False``) and the features in the order asked for.
        """

    @abstractmethod
    def decode(self, raw: tuple[Tensor, ...], image_size: tuple[int, int]) -> Predictions:
        """Turn raw outputs into boxes in pixels of the canvas ``image_size`` (height, width)."""

    @abstractmethod
    def tap(self, keys: Sequence[str]) -> tuple[Tap, ...]:
        """Look up channels and strides of layers, without computing anything.

        Raises:
            ConfigError: A key names no layer whose features can be tapped.
        """

    def resume(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Run what follows layers whose outputs are given, and nothing else.

        Args:
            features: Outputs by layer key.

        Returns:
            The raw outputs, as :meth:`forward` does.

        Raises:
            ConfigError: The head also needs a layer that does not follow from these, or this
                detector cannot be run in parts.
        """
        raise ConfigError(
            f"{type(self).__name__} cannot be run from layers {', '.join(features)} on.",
            fix="Choose another method:  tutelage methods",
            code="T29",
        )

    def parameters_before(self, keys: Sequence[str]) -> list[nn.Parameter]:  # noqa: ARG002
        """Return parameters without which gradients at some layers can be computed.

        Args:
            keys: Keys of the layers.

        Returns:
            Those of layers that run before the first one; possibly not all of them, or none.
        """
        return []

    @abstractmethod
    def fused(self) -> Detector:
        """Return a new deploy model with the same outputs; this one stays as it is."""


def check_image_size(size: int, stride: int) -> None:
    """Refuse an image size off the grid; it is never silently rounded.

    Args:
        size: Side of the image in pixels.
        stride: The largest stride of the networks that see it.

    Raises:
        ConfigError: The size is no positive multiple of the stride.
    """
    if size < stride or size % stride:
        near = max(round(size / stride), 1) * stride
        raise ConfigError(
            f"--img-size {size} must be a multiple of {stride} (largest stride).",
            fix=f"Nearest: {near}.",
            code="C17",
        )
