"""Detectors described by a yaml in the form of YOLOv7 and YOLOv5."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from tutelage.errors import ConfigError, nearest
from tutelage.models.architecture import IMAGE, Architecture
from tutelage.models.construct import LayerInfo, construct, default_levels
from tutelage.models.fuse import fuse
from tutelage.models.heads import AnchorSearch, Head
from tutelage.models.yolov7_interface import Call, Key, YOLOv7Interface
from tutelage.structures import Output, Predictions, Tap
from tutelage.weights.convert import Family


class _Step(NamedTuple):
    """How one row is run: what it reads, whether it is read again, what is dropped after it."""

    sources: tuple[int, ...]
    kept: bool
    finished: tuple[int, ...]


class GraphDetector(YOLOv7Interface):
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
        image_channels: 3, or 1 for a network that turns RGB images grey at its input.
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
        self.image_channels = arch.image_channels
        self.layers: tuple[LayerInfo, ...] = parts.layers
        self.arch_name = arch.name
        self.arch: dict[str, Any] = copy.deepcopy(arch.mapping)
        self.family: Family = arch.family
        self._steps, self._head_sources = _execution_steps(arch)
        self._lead = arch.lead
        needed = _rows_between(self._steps, self._lead)
        body = range(len(parts.body))
        self.auxiliary = frozenset(body) - needed
        self._rows: dict[Key, int] = {name: int(key) for name, key in self.levels.items()}
        self._rows.update({row: row for row in body} | {str(row): row for row in body})

    @property
    def head(self) -> Head:
        """The head."""
        return cast("Head", self.model[len(self.model) - 1])

    def fit_anchors(self, search: AnchorSearch) -> str:
        """Adapt the head to the boxes of a data set; returns what was done, for the plan."""
        before = self.head.training_state()
        report = self.head.fit_anchors(search)
        if self.head.training_state() != before:
            self.arch.update(self.head.training_state())
        return report

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Take over the head's :meth:`~Head.training_state`, in the mapping too."""
        self.head.load_training_state(state)
        self.arch.update(self.head.training_state())

    def decode(self, raw: tuple[Tensor, ...], image_size: tuple[int, int]) -> Predictions:
        """As :meth:`Detector.decode`; auxiliary levels are left out, ``image_size`` is not used."""
        del image_size
        return self.head.decode(raw[: len(self.strides)])

    def resume(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """As :meth:`Detector.resume`, by row or level name; auxiliary levels are left out.

        Raises:
            ConfigError: The head also needs the image: a path to it passes by the given layers. Or
                it would choose other candidates.
        """
        if not self.head.fixed_candidates:
            raise ConfigError(
                f"{self.arch_name} chooses its candidates from its maps: from other maps, others.",
                fix="Choose another method:  tutelage methods",
                code="T29",
            )
        saved = dict(zip(self._resolve(tuple(features)), features.values(), strict=True))
        for row in self._following(frozenset(saved)):
            sources = [saved[source] for source in self._steps[row].sources]
            saved[row] = self.model[row](*sources)
        return cast("tuple[Tensor, ...]", self.head(*(saved[row] for row in self._lead)))

    def _following(self, given: frozenset[int]) -> list[int]:
        """Return the rows that lie between the given ones and the head, in order."""
        needed = _rows_between(self._steps, self._lead, given)
        if IMAGE in needed:
            listed = ", ".join(str(key) for key in sorted(given))
            raise ConfigError(
                f"the head of {self.arch_name} does not follow from layers {listed} alone",
                fix=f"Tap one layer on every way to the head: {', '.join(self.levels)}.",
                code="T29",
            )
        return sorted(needed)

    def parameters_before(self, keys: Sequence[Key]) -> list[nn.Parameter]:
        """As :meth:`Detector.parameters_before`, by row or level name."""
        first = min(self._resolve(keys), default=0)
        if not any(p.requires_grad for p in self.model[first].parameters()):
            return []  # nothing in this row would make autograd follow its output
        return [p for layer in self.model[:first] for p in layer.parameters()]

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
        grey = self.image_channels == 1 and images.shape[1] == 3
        saved: dict[int, Tensor] = {IMAGE: to_grey(images) if grey else images}
        found: dict[int, Tensor] = {}
        wanted = len(set(rows))
        auxiliary = self.training and len(self._head_sources) > len(self._lead)
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
        raw: tuple[Tensor, ...] = call(self.layers[-1], self.head, inputs)
        return Output(raw, tuple(found[key] for key in rows))

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
            what = f"{self.arch_name} has layers 0…{last - 1} before its head, not {listed}."
        levels = (
            f"{' '.join(self.levels)} of {self.arch_name} are {', '.join(self.levels.values())}."
        )
        hint = nearest(str(keys[0]), self.levels)
        return ConfigError(
            what,
            fix=f"{hint + ' ' if hint else ''}{levels} List: tutelage layers {self.arch_name}",
            code="T06",
        )


def to_grey(images: Tensor) -> Tensor:
    """Turn RGB images ``(b, 3, h, w)`` grey, ``(b, 1, h, w)``, by the weights of ITU-R BT.601."""
    red, green, blue = images.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _rows_between(
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


def _execution_steps(arch: Architecture) -> tuple[tuple[_Step, ...], tuple[int, ...]]:
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
