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
    origins: Mapping[str, str] | None = None,
) -> Pairs:
    """Pair layers of two networks.

    Without lists, the pyramid levels that both networks have are paired by name (p3 with p3). With
    one list, each of its layers is paired with the other network's level of the same stride. Two
    lists are paired in order. A layer is given by its key or by the name of its level.

    Args:
        student: The network to train.
        teacher: The network to imitate.
        student_layers: Keys of the student's layers.
        teacher_layers: Keys of the teacher's layers.
        resize: Allow pairs of unequal stride.
        origins: Which layer of the configuration set ``distill.student_kd_layers`` and
            ``distill.teacher_kd_layers``, for the messages.

    Raises:
        ConfigError: Unknown or repeated layers, lists of unequal length, strides that differ or
            that the other network does not have; all are reported.
    """
    ours, theirs = _layers_of(student, "student"), _layers_of(teacher, "teacher")
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
        pairs = Pairs(*_by_stride(faults, first or (), ours, theirs))
    elif first is None:
        pairs = Pairs(*reversed(_by_stride(faults, second, theirs, ours)))
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
    """

    role: str
    name: str
    taps: dict[str, Tap]
    levels: Mapping[str, str]
    heads: tuple[str, ...] = ()

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

    def level(self, stride: int) -> str | None:
        """Return the key of the level of a stride."""
        return next((k for k in self.levels.values() if self.taps[k].stride == stride), None)

    def level_name(self, key: str) -> str | None:
        """Return the name of the level at a key."""
        return next((level for level, own in self.levels.items() if own == key), None)

    def suggest(self, stride: int, near: str) -> list[str]:
        """Return keys of layers of a stride: the level first, then by distance from a key."""
        place = {key: number for number, key in enumerate(self.taps)}
        centre = place.get(near, int(near) if near.isdecimal() else len(place))
        level = self.level(stride)
        keys = [key for key, tap in self.taps.items() if tap.stride == stride]
        keys.sort(key=lambda key: (key != level, abs(place[key] - centre), place[key]))
        return keys[:SUGGESTIONS]

    def describe_suggestions(self, stride: int, near: str) -> str:
        """Describe what :meth:`suggest` returns, e.g. ``7 (p4), 2, 3``."""
        names = {key: self.level_name(key) for key in self.suggest(stride, near)}
        return ", ".join(f"{key} ({name})" if name else key for key, name in names.items())

    def describe_keys(self) -> str:
        """Describe all keys, e.g. ``0…76``."""
        keys = [*self.taps, *self.heads]
        if [str(number) for number in range(len(keys))] == keys and len(keys) > SUGGESTIONS:
            return f"0…{len(keys) - 1}"
        return ", ".join(keys)

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


def _layers_of(network: Detector | Tapped, role: str) -> _Layers:
    if not isinstance(network, Detector):
        taps = {tap.key: tap for tap in network.taps}
        levels = {f"p{round(math.log2(tap.stride))}": tap.key for tap in network.taps}
        return _Layers(role, f"the {role}", taps, levels)
    layers: Iterable[Any] = getattr(network, "layers", ())
    keys = [str(layer.key) for layer in layers if layer.stride]  # a head has no stride
    keys += [key for key in network.levels.values() if key not in keys]
    taps = dict(zip(keys, network.tap(keys), strict=True))
    heads = tuple(str(layer.key) for layer in layers if not layer.stride)
    name = str(getattr(network, "arch_name", f"the {role}"))
    return _Layers(role, name, taps, network.levels, heads)


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
    common = [
        level
        for level, key in ours.levels.items()
        if level in theirs.levels
        and (resize or ours.taps[key].stride == theirs.taps[theirs.levels[level]].stride)
    ]
    if not common:
        what = "student and teacher have no pyramid level in common"
        levels = f"{ours.describe_levels()} {theirs.describe_levels()}"
        faults.add("T08", what, f"{levels} Name layers of both.")
    return Pairs(*(tuple(n.taps[n.levels[level]] for level in common) for n in (ours, theirs)))


def _by_stride(
    faults: _Faults, keys: Keys, own: _Layers, other: _Layers
) -> tuple[tuple[Tap, ...], tuple[Tap, ...]]:
    """Pair layers with the other network's levels of equal stride."""
    taps, partners = own.known_taps(keys), []
    for tap in taps:
        level = other.level(tap.stride)
        if level is not None:
            partners.append(other.taps[level])
            continue
        what = (
            f"{own.setting}: {tap.key} has stride {tap.stride}, and the {other.role} has no "
            "pyramid level of that stride"
        )
        near = other.describe_suggestions(tap.stride, tap.key)
        options = f"Layers of the {other.role} of stride {tap.stride}: {near}. " if near else ""
        faults.add("T08", what, f"{options}{other.describe_levels()}", own.setting)
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
            f"The {other.role} has stride {tap.stride} at {key}."
            for key in other.suggest(tap.stride, tap.key)[:1]
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
        strides = {other.taps[key].stride for key in shorter}
        unpaired = tuple(key for key in longer if own.taps[key].stride not in strides)
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
        stride, other = ours.taps[one].stride, theirs.taps[two].stride
        if stride != other:
            what = (
                f"Pair {number} does not align: student {one} has stride {stride}, "
                f"teacher {two} has stride {other}"
            )
            near = theirs.describe_suggestions(stride, two)
            options = f"Teacher layers of stride {stride}: {near}. " if near else ""
            fix = f"{options}Or allow resampling: --set distill.resize=true"
            faults.add("T08", what, fix, theirs.setting)
