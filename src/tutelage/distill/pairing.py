"""Which layers of student and teacher are compared; all that does not fit is told at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tutelage.config.validate import combine_errors
from tutelage.errors import ConfigError
from tutelage.models.catalog import is_named
from tutelage.models.detector import Detector
from tutelage.structures import Tap

STUDENT, TEACHER = "student_kd_layers", "teacher_kd_layers"
SUGGESTIONS = 3

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
    """A network that is no detector of ours: its features are these, finest level first."""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The features that it can share."""
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

    Without lists the pyramid levels that both have are paired, p3 with p3 and so on. With one
    list, each of its layers meets the other network's level of the same stride. Two lists are
    paired in order. A layer is given by its key or by the name of its level.

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
            that the other network does not have; all are told.
    """
    ours, theirs = _menu(student, "the student"), _menu(teacher, "the teacher")
    faults = _Faults(origins or {})
    first, second = _keys(student_layers, ours), _keys(teacher_layers, theirs)
    _unknown(faults, first, second, ours, theirs)
    known = [
        None if keys is None else [key for key in keys if key in menu.taps]
        for keys, menu in ((first, ours), (second, theirs))
    ]
    if known[0] is None and known[1] is None:
        pairs = _by_level(faults, ours, theirs, resize=resize)
    elif known[1] is None:
        taps, partners = _by_stride(faults, STUDENT, known[0] or [], ours, theirs, "teacher")
        pairs = Pairs(taps, partners)
    elif known[0] is None:
        taps, partners = _by_stride(faults, TEACHER, known[1], theirs, ours, "student")
        pairs = Pairs(partners, taps)
    else:
        first, second = _unequal_count(faults, first or (), second or (), ours, theirs)
        if not resize:
            _unequal_stride(faults, first, second, ours, theirs)
        pairs = Pairs(
            tuple(ours.taps[key] for key in known[0]), tuple(theirs.taps[key] for key in known[1])
        )
    faults.raise_any()
    return pairs


class _Menu(NamedTuple):
    """What a network offers.

    Attributes:
        name: What it is called.
        taps: Its layers in graph order.
        levels: The key of each pyramid level.
        heads: Keys of rows that have no features.
    """

    name: str
    taps: dict[str, Tap]
    levels: Mapping[str, str]
    heads: tuple[str, ...] = ()

    def level(self, stride: int) -> str | None:
        """Return the level's key of a stride."""
        return next((k for k in self.levels.values() if self.taps[k].stride == stride), None)

    def told(self, key: str) -> str:
        """Return a key, with its level if it has one."""
        level = next((level for level, own in self.levels.items() if own == key), None)
        return f"{key} ({level})" if level else key

    def of_stride(self, stride: int, near: str) -> str:
        """List layers of a stride: the level first, then those nearest to a key."""
        place = {key: number for number, key in enumerate(self.taps)}
        centre = place.get(near, int(near) if near.isdecimal() else len(place))
        level = self.level(stride)
        found = [key for key, tap in self.taps.items() if tap.stride == stride and key != level]
        found.sort(key=lambda key: (abs(place[key] - centre), place[key]))
        listed = ([] if level is None else [level]) + found
        return ", ".join(self.told(key) for key in listed[:SUGGESTIONS])

    def extent(self) -> str:
        """Tell which layers there are, e.g. ``0…76``."""
        keys = [*self.taps, *self.heads]
        if [str(number) for number in range(len(keys))] == keys and len(keys) > SUGGESTIONS:
            return f"0…{len(keys) - 1}"
        return ", ".join(keys)

    def listed_levels(self) -> str:
        """Tell the levels, e.g. ``p3 p4 p5 of yolov7-tiny are 57, 65, 73``."""
        return f"{' '.join(self.levels)} of {self.name} are {', '.join(self.levels.values())}."


class _Faults:
    """Collects faults and raises them together."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins
        self._found: list[ConfigError] = []

    def add(self, code: str, what: str, fix: str, setting: str = "") -> None:
        where = self._origins.get(f"distill.{setting}", "")
        where = f"from {where}" if where else ""
        self._found.append(ConfigError(what, where=where, fix=fix, code=code))

    def raise_any(self) -> None:
        if self._found:
            raise combine_errors(self._found)


def _menu(network: Detector | Tapped, role: str) -> _Menu:
    if not isinstance(network, Detector):
        taps = {tap.key: tap for tap in network.taps}
        return _Menu(role, taps, {_level_name(tap.stride): tap.key for tap in network.taps})
    layers: Iterable[Any] = getattr(network, "layers", ())
    keys = [str(layer.key) for layer in layers if layer.stride]  # a head has no stride
    keys += [key for key in network.levels.values() if key not in keys]
    taps = dict(zip(keys, network.tap(keys), strict=True))
    heads = tuple(str(layer.key) for layer in layers if not layer.stride)
    return _Menu(str(getattr(network, "arch_name", role)), taps, network.levels, heads)


def _level_name(stride: int) -> str:
    return f"p{round(math.log2(stride))}"


def _keys(layers: Sequence[str | int] | None, menu: _Menu) -> Keys | None:
    """Return keys as text, names of levels replaced; an empty list counts as none given."""
    if not layers:
        return None
    return tuple(menu.levels.get(str(layer), str(layer)) for layer in layers)


def _unknown(
    faults: _Faults,
    first: Keys | None,
    second: Keys | None,
    ours: _Menu,
    theirs: _Menu,
) -> None:
    """Tell keys that do not exist, and keys that are given twice."""
    swapped = all(key in theirs.taps for key in first or ()) and all(
        key in ours.taps for key in second or ()
    )
    for setting, keys, menu in ((STUDENT, first, ours), (TEACHER, second, theirs)):
        missing = [key for key in keys or () if key not in menu.taps]
        if missing:
            what = f"{setting}: {menu.name} has layers {menu.extent()}, not {', '.join(missing)}"
            if set(missing) <= set(menu.heads):
                kind = "the head" if missing[0] == menu.heads[-1] else "an auxiliary row"
                what = f"{setting}: {missing[0]} is {kind} of {menu.name}, it has no features"
            hint = "Did you swap student and teacher? " if swapped else ""
            named = f" List: tutelage layers {menu.name}" if is_named(menu.name) else ""
            faults.add("T06", what, f"{hint}{menu.listed_levels()}{named}", setting)
        twice = sorted({key for key in keys or () if (keys or ()).count(key) > 1})
        if twice:
            what = f"{setting}: {', '.join(twice)} is given twice"
            faults.add("T06", what, "Name it once.", setting)


def _by_level(faults: _Faults, ours: _Menu, theirs: _Menu, *, resize: bool) -> Pairs:
    common = [
        level
        for level, key in ours.levels.items()
        if level in theirs.levels
        and (resize or ours.taps[key].stride == theirs.taps[theirs.levels[level]].stride)
    ]
    if not common:
        what = "student and teacher have no pyramid level in common"
        faults.add(
            "T08", what, f"{ours.listed_levels()} {theirs.listed_levels()} Name layers of both."
        )
    taps = [tuple(menu.taps[menu.levels[level]] for level in common) for menu in (ours, theirs)]
    return Pairs(taps[0], taps[1])


def _by_stride(
    faults: _Faults, setting: str, keys: list[str], own: _Menu, other: _Menu, role: str
) -> tuple[tuple[Tap, ...], tuple[Tap, ...]]:
    """Pair ``keys`` with the other network's levels of equal stride."""
    taps, partners = [own.taps[key] for key in keys], []
    for tap in taps:
        level = other.level(tap.stride)
        if level is None:
            what = (
                f"{setting}: {tap.key} has stride {tap.stride}, and the {role} has no pyramid "
                "level of that stride"
            )
            near = other.of_stride(tap.stride, tap.key)
            options = f"Layers of the {role} of stride {tap.stride}: {near}. " if near else ""
            faults.add("T08", what, f"{options}{other.listed_levels()}", setting)
        else:
            partners.append(other.taps[level])
    return tuple(taps), tuple(partners)


def _unequal_count(
    faults: _Faults, first: Keys, second: Keys, ours: _Menu, theirs: _Menu
) -> tuple[Keys, Keys]:
    """Tell layers without a partner; return the lists without them."""
    if len(first) == len(second):
        return first, second
    student_longer = len(first) > len(second)
    longer, own, other, role = (
        (first, ours, theirs, "teacher") if student_longer else (second, theirs, ours, "student")
    )
    lonely = _lonely(longer, second if student_longer else first, own, other)
    told: list[str] = []
    partners: list[str] = []
    for key in lonely:
        if key not in own.taps:
            continue
        stride = own.taps[key].stride
        level = next((f"{level}, " for level, place in own.levels.items() if place == key), "")
        told.append(f"{key} ({level}stride {stride})")
        found = other.level(stride) or other.of_stride(stride, key).partition(",")[0]
        if found:
            partners.append(f"The {role} has stride {stride} at {found}.")
    what = f"{_count(first, 'student')} but {_count(second, 'teacher')}; they are paired in order"
    missing = [f"Missing a partner: {', '.join(told)}."] if told else []
    setting = TEACHER if student_longer else STUDENT
    faults.add("T07", what, " ".join([*missing, *dict.fromkeys(partners)]), setting)
    kept = tuple(key for key in longer if key not in lonely)
    return (kept, second) if student_longer else (first, kept)


def _lonely(longer: Keys, shorter: Keys, own: _Menu, other: _Menu) -> Keys:
    """Return the layers whose stride the other list lacks, else the last ones."""
    excess = len(longer) - len(shorter)
    if all(key in own.taps for key in longer) and all(key in other.taps for key in shorter):
        strides = {other.taps[key].stride for key in shorter}
        lonely = tuple(key for key in longer if own.taps[key].stride not in strides)
        if len(lonely) == excess:
            return lonely
    return longer[-excess:]


def _count(keys: Keys, role: str) -> str:
    return f"{len(keys)} {role} layer{'s' if len(keys) != 1 else ''}"


def _unequal_stride(faults: _Faults, first: Keys, second: Keys, ours: _Menu, theirs: _Menu) -> None:
    for number, (one, two) in enumerate(zip(first, second, strict=False), start=1):
        if one not in ours.taps or two not in theirs.taps:
            continue
        stride, other = ours.taps[one].stride, theirs.taps[two].stride
        if stride == other:
            continue
        what = (
            f"Pair {number} does not align: student {one} has stride {stride}, "
            f"teacher {two} has stride {other}"
        )
        near = theirs.of_stride(stride, two)
        options = f"Teacher layers of stride {stride}: {near}. " if near else ""
        fix = f"{options}Or allow resampling: --set distill.resize=true"
        faults.add("T08", what, fix, TEACHER)
