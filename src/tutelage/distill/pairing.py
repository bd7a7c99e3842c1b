"""Pairs of student and teacher layers; everything that does not fit is reported at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tutelage.config.validate import combine_errors
from tutelage.errors import ConfigError
from tutelage.models.catalog import is_named
from tutelage.models.detector import Detector
from tutelage.structures import Tap

SUGGESTIONS = 3  # layers named in a message
RESIZE = "--set distill.resize=true"

Keys = tuple[str, ...]


class Pairs(NamedTuple):
    """Layers of student and teacher, paired in order."""

    student: tuple[Tap, ...]
    teacher: tuple[Tap, ...]

    @property
    def channels(self) -> list[tuple[int, int]]:
        """Student and teacher channels per pair."""
        return [(s.channels, t.channels) for s, t in zip(self.student, self.teacher, strict=True)]


@runtime_checkable
class Tapped(Protocol):
    """A network that is no :class:`Detector`: its features, finest level first."""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The features that it can return."""
        ...


def pair(
    student: Detector | Tapped,
    teacher: Detector | Tapped,
    student_layers: Sequence[str | int] | None = None,
    teacher_layers: Sequence[str | int] | None = None,
    *,
    resize: bool = False,
    zoom: float = 1.0,
    origins: Mapping[str, str] | None = None,
) -> Pairs:
    """Pair layers of two networks.

    Without lists, the pyramid levels that both networks have are paired by name (p3 with p3). With
    one list, each of its layers is paired with the other network's level of the same stride. Two
    lists are paired in order. A layer is given by its key or by the name of its level.

    What counts is the stride on the student's images. Where the teacher sees them at twice the
    size, its p4 has the cells of the student's p3. At 1.5 times the size it has the cells of none
    of the student's layers; with ``resize``, levels are then paired with the nearest.

    Args:
        student: The network to train.
        teacher: The network to imitate.
        student_layers: Keys of the student's layers.
        teacher_layers: Keys of the teacher's layers.
        resize: Allow pairs of unequal stride.
        zoom: The teacher sees the images at so many times the student's size.
        origins: Which layer of the configuration set ``distill.student_kd_layers`` and
            ``distill.teacher_kd_layers``, for the messages.

    Raises:
        ConfigError: Unknown or repeated layers, lists of unequal length, strides that differ or
            that the other network does not have; all are reported.
    """
    ours, theirs = _layers_of(student, "student"), _layers_of(teacher, "teacher", zoom)
    faults = _Faults(origins or {})
    first, second = ours.keys(student_layers), theirs.keys(teacher_layers)
    swapped = all(key in theirs.taps for key in first or ()) and all(
        key in ours.taps for key in second or ()
    )
    _check_keys(faults, first or (), ours, swapped=swapped)
    _check_keys(faults, second or (), theirs, swapped=swapped)
    if first is None and second is None:
        pairs = _by_level(faults, ours, theirs, resize=resize)
    elif second is None:
        pairs = Pairs(*_by_stride(faults, first or (), ours, theirs, resize=resize))
    elif first is None:
        pairs = Pairs(*reversed(_by_stride(faults, second, theirs, ours, resize=resize)))
    else:
        pairs = Pairs(ours.known_taps(first), theirs.known_taps(second))
        first, second = _check_counts(faults, first, second, ours, theirs)
        if not resize:
            _check_strides(faults, first, second, ours, theirs)
    faults.raise_any()
    return pairs


class _Layers(NamedTuple):
    """The layers of a network.

    Attributes:
        role: ``student`` or ``teacher``.
        name: The network in messages.
        taps: The layers with features in graph order.
        levels: The key of each pyramid level.
        heads: Keys of layers without features.
        zoom: It sees the images at so many times the student's size.
    """

    role: str
    name: str
    taps: dict[str, Tap]
    levels: Mapping[str, str]
    heads: tuple[str, ...] = ()
    zoom: float = 1.0

    @property
    def setting(self) -> str:
        """The setting that lists its layers."""
        return f"{self.role}_kd_layers"

    def keys(self, layers: Sequence[str | int] | None) -> Keys | None:
        """Return layers by their keys; None for an empty list."""
        return tuple(self.levels.get(str(x), str(x)) for x in layers) if layers else None

    def known_taps(self, keys: Keys) -> tuple[Tap, ...]:
        """Return the layers of the keys that exist."""
        return tuple(self.taps[key] for key in keys if key in self.taps)

    def stride(self, key: str) -> float:
        """Return the stride of a layer on the student's images."""
        return self.taps[key].stride / self.zoom

    def describe_zoom(self, *keys: str) -> str:
        """Say what the strides of layers, or of the levels, are in the student's pixels.

        Empty if the network sees the student's images.
        """
        if self.zoom == 1:
            return ""
        strides = [f"{self.stride(key):.3g}" for key in keys or self.levels.values()]
        are = "strides are" if len(strides) > 1 else "stride is"
        are = f"{are} {', '.join(strides)} of the student's pixels"
        return f": on images {self.zoom:g} × as large, the {self.role}'s {are}"

    def level(self, stride: float, *, near: bool = False) -> str | None:
        """Return the key of the level of a stride on the student's images, or ``near`` to it."""
        equal = (k for k in self.levels.values() if self.stride(k) == stride)
        alike = (k for k in self.levels.values() if near and _rung(self.stride(k)) == _rung(stride))
        return next(equal, None) or next(alike, None)

    def level_name(self, key: str) -> str | None:
        """Return the name of the level at a key."""
        return next((level for level, own in self.levels.items() if own == key), None)

    def suggest(self, stride: float, near: str) -> list[str]:
        """Return keys of layers of a stride: the level first, then by distance from a key."""
        place = {key: number for number, key in enumerate(self.taps)}
        centre = place.get(near, int(near) if near.isdecimal() else len(place))
        level = self.level(stride)
        keys = [key for key in self.taps if self.stride(key) == stride]
        keys.sort(key=lambda key: (key != level, abs(place[key] - centre), place[key]))
        return keys[:SUGGESTIONS]

    def describe_suggestions(self, stride: float, near: str) -> str:
        """Describe what :meth:`suggest` returns, e.g. ``stride 16: 7 (p4), 2, 3``."""
        names = {key: self.level_name(key) for key in self.suggest(stride, near)}
        listed = ", ".join(f"{key} ({name})" if name else key for key, name in names.items())
        return f"stride {stride * self.zoom:g}: {listed}" if listed else ""

    def describe_keys(self) -> str:
        """Describe the keys of all layers that can be tapped, e.g. ``0…76 before its head``."""
        keys = list(self.taps)
        before = " before its head" if self.heads else ""
        if [str(number) for number in range(len(keys))] == keys and len(keys) > SUGGESTIONS:
            return f"0…{len(keys) - 1}{before}"
        return ", ".join(keys) + before

    def describe_levels(self) -> str:
        """Describe the levels, e.g. ``p3 p4 p5 of yolov7-tiny are 57, 65, 73.``."""
        return f"{' '.join(self.levels)} of {self.name} are {', '.join(self.levels.values())}."


class _Faults:
    """Collects faults and raises them together."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins
        self._faults: list[ConfigError] = []

    def add(self, code: str, what: str, fix: str, setting: str = "") -> None:
        where = self._origins.get(f"distill.{setting}", "")
        where = f"from {where}" if where else ""
        self._faults.append(ConfigError(what, where=where, fix=fix, code=code))

    def raise_any(self) -> None:
        if self._faults:
            raise combine_errors(self._faults)


def _rung(stride: float) -> int:
    return round(math.log2(stride))


def _layers_of(network: Detector | Tapped, role: str, zoom: float = 1.0) -> _Layers:
    if not isinstance(network, Detector):
        taps = {tap.key: tap for tap in network.taps}
        levels = {f"p{_rung(tap.stride)}": tap.key for tap in network.taps}
        return _Layers(role, f"the {role}", taps, levels, zoom=zoom)
    layers: Iterable[Any] = getattr(network, "layers", ())
    keys = [str(layer.key) for layer in layers if layer.stride]  # a head has no stride
    keys += [key for key in network.levels.values() if key not in keys]
    taps = dict(zip(keys, network.tap(keys), strict=True))
    heads = tuple(str(layer.key) for layer in layers if not layer.stride)
    name = str(getattr(network, "arch_name", f"the {role}"))
    return _Layers(role, name, taps, network.levels, heads, zoom)


def _check_keys(faults: _Faults, keys: Keys, layers: _Layers, *, swapped: bool) -> None:
    """Report keys that do not exist or are given twice."""
    setting = layers.setting
    missing = [key for key in keys if key not in layers.taps]
    if missing:
        has = f"{setting}: {layers.name} has layers {layers.describe_keys()}"
        what = f"{has}, not {', '.join(missing)}"
        if set(missing) <= set(layers.heads):
            kind = "the head" if missing[0] == layers.heads[-1] else "an auxiliary row"
            what = f"{setting}: {missing[0]} is {kind} of {layers.name}, it has no features"
        hint = "Did you swap student and teacher? " if swapped else ""
        command = f" List: tutelage layers {layers.name}" if is_named(layers.name) else ""
        faults.add("T06", what, f"{hint}{layers.describe_levels()}{command}", setting)
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        what = f"{setting}: {', '.join(twice)} is given twice"
        faults.add("T06", what, "Name it once.", setting)


def _by_level(faults: _Faults, ours: _Layers, theirs: _Layers, *, resize: bool) -> Pairs:
    """Pair the pyramid levels that both networks have."""
    found = {k: theirs.level(ours.stride(k), near=resize) for k in ours.levels.values()}
    common = {key: partner for key, partner in found.items() if partner is not None}
    if not common:
        what = f"student and teacher have no pyramid level in common{theirs.describe_zoom()}"
        levels = f"{ours.describe_levels()} {theirs.describe_levels()}"
        ways = f"Allow resampling: {RESIZE}" if theirs.zoom != 1 else "Name layers of both."
        faults.add("T08", what, f"{levels} {ways}")
    return Pairs(ours.known_taps(tuple(common)), theirs.known_taps(tuple(common.values())))


def _by_stride(
    faults: _Faults, keys: Keys, own: _Layers, other: _Layers, *, resize: bool
) -> tuple[tuple[Tap, ...], tuple[Tap, ...]]:
    """Pair layers with the other network's levels of equal stride."""
    taps, partners = own.known_taps(keys), []
    for tap in taps:
        level = other.level(own.stride(tap.key), near=resize)
        if level is not None:
            partners.append(other.taps[level])
            continue
        zoomed = own if own.zoom != 1 else other
        what = (
            f"{own.setting}: {tap.key} has stride {tap.stride}, and the {other.role} has no "
            f"pyramid level of that stride{zoomed.describe_zoom()}"
        )
        near = other.describe_suggestions(own.stride(tap.key), tap.key)
        options = f"Layers of the {other.role} of {near}. " if near else ""
        ways = f" Or allow resampling: {RESIZE}" if zoomed.zoom != 1 else ""
        faults.add("T08", what, f"{options}{other.describe_levels()}{ways}", own.setting)
    return taps, tuple(partners)


def _check_counts(
    faults: _Faults, first: Keys, second: Keys, ours: _Layers, theirs: _Layers
) -> tuple[Keys, Keys]:
    """Report layers without a partner; return the lists without them."""
    if len(first) == len(second):
        return first, second
    longer, shorter, own, other = first, second, ours, theirs
    if len(first) < len(second):
        longer, shorter, own, other = second, first, theirs, ours
    unpaired = _unpaired(longer, shorter, own, other)
    described: list[str] = []
    partners: list[str] = []
    for tap in own.known_taps(unpaired):
        name = own.level_name(tap.key)
        described.append(f"{tap.key} ({f'{name}, ' if name else ''}stride {tap.stride})")
        partners += [
            f"The {other.role} has stride {other.taps[key].stride} at {key}."
            for key in other.suggest(own.stride(tap.key), tap.key)[:1]
        ]
    counts = (
        f"{len(keys)} {role} layer{'s' if len(keys) != 1 else ''}"
        for keys, role in ((first, "student"), (second, "teacher"))
    )
    missing = [f"Missing a partner: {', '.join(described)}."] if described else []
    what = f"{' but '.join(counts)}; they are paired in order"
    faults.add("T07", what, " ".join([*missing, *dict.fromkeys(partners)]), other.setting)
    paired = tuple(key for key in longer if key not in unpaired)
    return (paired, second) if longer is first else (first, paired)


def _unpaired(longer: Keys, shorter: Keys, own: _Layers, other: _Layers) -> Keys:
    """Return the layers whose stride the other list lacks, else the last ones."""
    excess = len(longer) - len(shorter)
    if all(key in own.taps for key in longer) and all(key in other.taps for key in shorter):
        strides = {other.stride(key) for key in shorter}
        unpaired = tuple(key for key in longer if own.stride(key) not in strides)
        if len(unpaired) == excess:
            return unpaired
    return longer[-excess:]


def _check_strides(
    faults: _Faults, first: Keys, second: Keys, ours: _Layers, theirs: _Layers
) -> None:
    """Report pairs of unequal stride."""
    for number, (one, two) in enumerate(zip(first, second, strict=False), start=1):
        if one not in ours.taps or two not in theirs.taps:
            continue
        stride = ours.stride(one)
        if stride != theirs.stride(two):
            what = (
                f"Pair {number} does not align: student {one} has stride {stride:g}, teacher {two} "
                f"has stride {theirs.taps[two].stride}{theirs.describe_zoom(two)}"
            )
            near = theirs.describe_suggestions(stride, two)
            options = f"Teacher layers of {near}. Or allow" if near else "Allow"
            faults.add("T08", what, f"{options} resampling: {RESIZE}", theirs.setting)
