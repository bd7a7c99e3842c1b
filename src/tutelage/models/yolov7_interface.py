"""The calls of YOLOv7's and YOLOv5's own code: ``forward_once``, ``augment=``, ``profile=``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from tutelage.models.construct import LayerInfo
from tutelage.models.detector import Detector
from tutelage.models.heads import Head
from tutelage.models.profile import LayerCost, Profiler
from tutelage.models.tta import augmented
from tutelage.structures import Output
from tutelage.weights.convert import Family

Key = str | int
Call = Callable[[LayerInfo, nn.Module, Sequence[Tensor]], Any]


class YOLOv7Interface(Detector):
    """A detector that is also called, and answers, as YOLOv7's code does.

    Attributes:
        family: Whose conventions it follows.
    """

    family: Family

    @property
    @abstractmethod
    def head(self) -> Head:
        """The head."""

    @abstractmethod
    def _run(self, images: Tensor, rows: tuple[int, ...], head: bool, call: Call) -> Output:
        """Run the rows, each through ``call``; without head, only to the last of ``rows``."""

    @abstractmethod
    def _resolve(self, keys: Sequence[Key]) -> tuple[int, ...]:
        """Return the rows that layer keys name; a ConfigError lists those that do not exist."""

    def forward(
        self,
        images: Tensor,
        taps: Sequence[Key] = (),
        *,
        head: bool = True,
        augment: bool = False,
        profile: bool = False,
        extra_features: Iterable[Key] = (),
    ) -> Any:
        """Run the graph; with one of the last three set, answer in the form of YOLOv7's code.

        Args:
            images: ``(b, 3, h, w)`` RGB in 0..1.
            taps: Layers whose outputs are wanted.
            head: With False, stop where the last tap is captured.
            augment: Join the candidates of three views of the images (scales 1, 0.83 mirrored,
                0.67); answers ``(decoded, None)``.
            profile: Add a table of the time, operations and parameters of each layer.
            extra_features: Layers as in :meth:`forward_once`.

        Returns:
            An :class:`Output`, or what :meth:`forward_once` describes.

        Raises:
            ConfigError: A layer does not exist.
        """
        if augment:
            if profile or extra_features or taps or not head:
                raise ValueError("augment=True cannot be combined with taps or profile")
            trim = self.family == "yolov5"
            return augmented(self._predict_rows, images, self.strides, trim=trim), None
        if profile or extra_features:
            if taps or not head:
                raise ValueError("use taps or extra_features, not both")
            return self.forward_once(images, profile, extra_features)
        return self._run(images, self._resolve(taps), head, call_layer)

    def forward_once(
        self, x: Tensor, profile: bool = False, extra_features: Iterable[Key] = ()
    ) -> Any:
        """Run the graph once and answer in the form of YOLOv7's code.

        Args:
            x: ``(b, 3, h, w)`` RGB in 0..1.
            profile: Add a table (a tuple of :class:`LayerCost`) at the end of the answer.
            extra_features: Layers whose outputs are wanted; they come in graph order.

        Returns:
            Without options, an :class:`Output`. Otherwise, where ``output`` is the list of raw
            tensors in training and ``(decoded, raw)`` in evaluation:
            ``(output, features)`` in training; ``(last feature, features)`` in evaluation, where
            nothing after the last wanted layer is run; without ``extra_features``, no features.
            With ``profile``, the table follows.

        Raises:
            ConfigError: A layer does not exist.
        """
        rows = tuple(sorted(set(self._resolve(tuple(extra_features)))))
        if not rows and not profile:
            return self._run(x, (), True, call_layer)
        profiler = Profiler()
        stop = bool(rows) and not self.training
        raw, features = self._run(x, rows, not stop, profiler if profile else call_layer)
        answer: Any
        if raw is None:
            answer = features[-1]
        elif self.training:
            answer = list(raw)
        else:
            answer = (self._decode_rows(raw), list(raw))
        table: tuple[tuple[LayerCost, ...], ...] = (profiler.table(),) if profile else ()
        return (answer, list(features), *table) if rows else (answer, *table)

    def _decode_rows(self, raw: Sequence[Tensor]) -> Tensor:
        return self.head.decode_rows(raw[: len(self.strides)])

    def _predict_rows(self, images: Tensor) -> Tensor:
        raw = self._run(images, (), True, call_layer).raw
        return self._decode_rows(cast("tuple[Tensor, ...]", raw))


def call_layer(info: LayerInfo, layer: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """Run one layer on its inputs."""
    del info
    return layer(*inputs)
