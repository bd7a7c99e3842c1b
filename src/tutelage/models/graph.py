"""Detectors described by a YOLOv7 or YOLOv5 yaml."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast, overload

from torch import Tensor, nn

from tutelage.errors import ConfigError, nearest
from tutelage.models.architecture import IMAGE, Architecture
from tutelage.models.construct import LayerInfo, construct, default_levels
from tutelage.models.detector import Detector
from tutelage.models.fuse import fuse
from tutelage.models.heads import Detect, Family, IAuxDetect, decode, decode_rows
from tutelage.models.profile import LayerCost, Profiler
from tutelage.models.tta import augmented
from tutelage.structures import Output, Predictions, Tap

Key = str | int
Call = Callable[[LayerInfo, nn.Module, Sequence[Tensor]], Any]


class _Step(NamedTuple):
    """How one row is run: what it reads, whether it is read again, what is dropped after it."""

    sources: tuple[int, ...]
    kept: bool
    finished: tuple[int, ...]


class GraphDetector(Detector):
    """A detector whose layers are the rows of a yaml.

    The rows live in ``model``, so the keys of its state are ``model.<row>.<...>`` as in YOLOv5 and
    YOLOv7. A layer is named by its row (``"75"`` or ``75``) or by its level (``"p3"``).

    Args:
        arch: The checked description.
        names: Class names.

    Attributes:
        arch_name: What the graph is called.
        arch: The yaml mapping, ``nc`` included: all that is needed to build it again.
        family: Whose conventions it follows.
        layers: One entry per row, the head last.
        auxiliary: Rows that only the auxiliary levels of the head need, or nothing at all (in files
            whose head was replaced by a plain one): they run in training where the head reads them,
            or where they are tapped, and the deploy form has none.
    """

    def __init__(self, arch: Architecture, names: Sequence[str]) -> None:
        super().__init__()
        if len(names) != arch.classes:
            raise ValueError(f"{arch.classes} classes but {len(names)} names")
        parts = construct(arch)
        self.model = nn.ModuleList([*parts.body, parts.head])
        self.names = tuple(names)
        self.strides = parts.head.strides
        self.levels = default_levels(arch, parts)
        self.layers: tuple[LayerInfo, ...] = parts.layers
        self.arch_name = arch.name
        self.arch: dict[str, Any] = copy.deepcopy(arch.mapping)
        self.family: Family = arch.family
        self._steps, self._head_sources = _schedule(arch)
        self._lead = arch.lead
        needed = _needed(self._steps, self._lead)
        body = range(len(parts.body))
        self.auxiliary = frozenset(body) - needed
        self._rows: dict[Key, int] = {name: int(key) for name, key in self.levels.items()}
        self._rows.update({row: row for row in body} | {str(row): row for row in body})

    @property
    def detect(self) -> Detect:
        """The head."""
        return cast("Detect", self.model[len(self.model) - 1])

    @property
    def anchors(self) -> Tensor:
        """``(levels, anchors, 2)`` anchor widths and heights in pixels."""
        return self.detect.pixels

    def set_anchors(self, pixels: Tensor) -> None:
        """Replace the anchors by ``(levels, anchors, 2)`` widths and heights in pixels.

        Those of the mapping too, from which the graph can be built again.
        """
        self.detect.set_pixels(pixels.to(self.detect.anchors))
        self.arch["anchors"] = self.anchors.flatten(1).tolist()

    @overload
    def forward(
        self,
        images: Tensor,
        taps: Sequence[Key] = (),
        *,
        head: bool = True,
        augment: Literal[False] = False,
        profile: Literal[False] = False,
        extra_features: tuple[()] = (),
    ) -> Output: ...

    @overload
    def forward(
        self,
        images: Tensor,
        taps: Sequence[Key] = (),
        *,
        head: bool = True,
        augment: bool = False,
        profile: bool = False,
        extra_features: Iterable[Key] = (),
    ) -> Any: ...

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
            return augmented(self._predicted, images, self.strides, trim=trim), None
        if profile or extra_features:
            if taps or not head:
                raise ValueError("use taps or extra_features, not both")
            return self.forward_once(images, profile, extra_features)
        return self._run(images, self._resolve(taps), head, _call)

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
            return self._run(x, (), True, _call)
        profiler = Profiler()
        stop = bool(rows) and not self.training
        raw, features = self._run(x, rows, not stop, profiler if profile else _call)
        answer: Any
        if raw is None:
            answer = features[-1]
        elif self.training:
            answer = list(raw)
        else:
            answer = (self._decoded(raw), list(raw))
        table: tuple[tuple[LayerCost, ...], ...] = (profiler.table(),) if profile else ()
        return (answer, list(features), *table) if rows else (answer, *table)

    def decode(self, raw: tuple[Tensor, ...], image_size: tuple[int, int]) -> Predictions:
        """Turn raw outputs into boxes in pixels of the canvas; auxiliary levels are left out.

        Args:
            raw: ``(b, a, ny, nx, 5 + c)`` per level.
            image_size: Height and width; the boxes need only the strides.

        Returns:
            Candidates ordered by level, anchor, row, column.
        """
        del image_size
        return decode(raw[: len(self.strides)], self.anchors, self.strides)

    def resume(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Run what follows layers whose outputs are given, and nothing else.

        Auxiliary levels are left out.

        Args:
            features: Outputs by row or level name.

        Raises:
            ConfigError: The head also needs the image: a path to it passes by the given layers.
        """
        saved = dict(zip(self._resolve(tuple(features)), features.values(), strict=True))
        for row in self._following(frozenset(saved)):
            sources = [saved[source] for source in self._steps[row].sources]
            saved[row] = self.model[row](*sources)
        return cast("tuple[Tensor, ...]", self.detect(*(saved[row] for row in self._lead)))

    def _following(self, given: frozenset[int]) -> list[int]:
        """Return the rows that lie between the given ones and the head, in order."""
        needed = _needed(self._steps, self._lead, given)
        if IMAGE in needed:
            listed = ", ".join(str(key) for key in sorted(given))
            raise ConfigError(
                f"the head of {self.arch_name} does not follow from layers {listed} alone",
                fix=f"Tap one layer on every way to the head: {', '.join(self.levels)}.",
                code="T29",
            )
        return sorted(needed)

    def tap(self, keys: Sequence[Key]) -> tuple[Tap, ...]:
        """Look up layers by row or level name.

        Raises:
            ConfigError: Unknown layers, all listed.
        """
        layers = [self.layers[row] for row in self._resolve(keys)]
        return tuple(Tap(layer.key, layer.channels, layer.stride) for layer in layers)

    def fused(self) -> GraphDetector:
        """Return a deploy copy: folded, in evaluation mode, frozen, channels-last.

        Its auxiliary rows are gone (their stride is 0); the others keep their numbers.
        """
        deploy = fuse(self)
        for row in self.auxiliary:
            deploy.model[row] = nn.Identity()
        deploy.layers = tuple(
            info._replace(stride=0) if row in self.auxiliary else info
            for row, info in enumerate(self.layers)
        )
        deploy._rows = {k: row for k, row in self._rows.items() if row not in self.auxiliary}
        return deploy

    def _run(self, images: Tensor, rows: tuple[int, ...], head: bool, call: Call) -> Output:
        if not head and not rows:
            return Output(None, ())
        saved: dict[int, Tensor] = {IMAGE: images}
        found: dict[int, Tensor] = {}
        wanted = len(set(rows))
        auxiliary = self.training and isinstance(self.detect, IAuxDetect)
        spared = auxiliary or not self.auxiliary.isdisjoint(rows)
        for row, (step, layer) in enumerate(zip(self._steps, self.model, strict=False)):
            if row in self.auxiliary and not spared:
                continue
            x: Tensor = call(self.layers[row], layer, [saved[source] for source in step.sources])
            if row in rows:
                found[row] = x
                if not head and len(found) == wanted:
                    return Output(None, tuple(found[key] for key in rows))
            for source in step.finished:
                del saved[source]
            if step.kept:
                saved[row] = x
        inputs = [saved[source] for source in (self._head_sources if auxiliary else self._lead)]
        raw: tuple[Tensor, ...] = call(self.layers[-1], self.detect, inputs)
        return Output(raw, tuple(found[key] for key in rows))

    def _decoded(self, raw: Sequence[Tensor]) -> Tensor:
        return decode_rows(raw[: len(self.strides)], self.anchors, self.strides)

    def _predicted(self, images: Tensor) -> Tensor:
        raw = self._run(images, (), True, _call).raw
        return self._decoded(cast("tuple[Tensor, ...]", raw))

    def _resolve(self, keys: Sequence[Key]) -> tuple[int, ...]:
        unknown = [key for key in keys if key not in self._rows]
        if unknown:
            raise self._unknown(unknown)
        return tuple(self._rows[key] for key in keys)

    def _unknown(self, keys: Sequence[Key]) -> ConfigError:
        last = len(self.model) - 1
        listed = ", ".join(map(str, keys))
        if all(str(key) in map(str, self.auxiliary) for key in keys):
            what = (
                f"layers {listed} of {self.arch_name} are auxiliary: they exist in training only."
            )
        elif all(str(key) == str(last) for key in keys):
            what = f"layer {last} of {self.arch_name} is its head, it has no features to tap."
        else:
            what = f"{self.arch_name} has layers 0…{last}, not {listed}."
        levels = (
            f"{' '.join(self.levels)} of {self.arch_name} are {', '.join(self.levels.values())}."
        )
        hint = nearest(str(keys[0]), self.levels)
        return ConfigError(
            what,
            fix=f"{hint + ' ' if hint else ''}{levels} List: tutelage layers {self.arch_name}",
            code="T06",
        )


def _call(info: LayerInfo, layer: nn.Module, inputs: Sequence[Tensor]) -> Any:
    del info
    return layer(*inputs)


def _needed(
    steps: Sequence[_Step], ends: Iterable[int], given: frozenset[int] = frozenset()
) -> set[int]:
    """Return the rows on all ways to ``ends``: from ``given``, else from the image (IMAGE)."""
    needed: set[int] = set()
    left = set(ends) - given
    while left:
        row = left.pop()
        needed.add(row)
        if row != IMAGE:
            left |= set(steps[row].sources) - given - needed
    return needed


def _schedule(arch: Architecture) -> tuple[tuple[_Step, ...], tuple[int, ...]]:
    """Find for each row which maps it reads for the last time."""
    last: dict[int, int] = {}
    for row in arch.rows:
        last.update(dict.fromkeys(row.sources, row.index))
    finished: dict[int, list[int]] = {}
    for source, row in last.items():
        finished.setdefault(row, []).append(source)
    steps = tuple(
        _Step(row.sources, row.index in last, tuple(finished.get(row.index, ())))
        for row in arch.rows[:-1]
    )
    return steps, arch.rows[-1].sources
