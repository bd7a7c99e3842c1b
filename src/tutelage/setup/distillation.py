"""The teachers of a run joined to its student: loading, pairing, methods, classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from tutelage.config.overrides import name_setting
from tutelage.config.schema import DistillConfig, MethodConfig
from tutelage.distill import (
    Method,
    Need,
    Pairs,
    View,
    build_methods,
    pair,
    refuse_classes,
    shared_columns,
)
from tutelage.distill.class_mapping import Columns
from tutelage.errors import ConfigError
from tutelage.models.graph import GraphDetector
from tutelage.teachers import NativeTeacher, Teacher, Teachers, load_teacher

AUTO, RESPONSES, FEATURES = "auto", "bckd", "cwd"


class MethodBinding(NamedTuple):
    """What one method learns from one teacher.

    Attributes:
        config: The method's settings.
        teacher: The number of the teacher.
        pairs: The layers it compares, in pair order.
    """

    config: MethodConfig
    teacher: int
    pairs: Pairs


class DistillationSetup(NamedTuple):
    """Teachers joined to a student.

    Attributes:
        panel: Maps images to what each teacher knows.
        lessons: What each method compares, by the method's name in the run.
        methods: The methods by name; of several teachers, ``fgd@1``, ``fgd@2``.
        views: What each method sees.
        weights: The fixed weight per method; 1 for those found by measurement.
        shares: For methods with ``weight: auto``, their share of the gradient ratio.
        taps: The student's layers that the methods look at.
        columns: Per teacher, the column of each class of the student; -1: it does not know it.
        records: Per teacher, its identity and scores.
    """

    panel: Teachers
    lessons: dict[str, MethodBinding]
    methods: dict[str, Method]
    views: dict[str, View]
    weights: dict[str, float]
    shares: dict[str, float]
    taps: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]
    records: tuple[dict[str, Any], ...]


def teach(
    config: DistillConfig,
    student: GraphDetector,
    device: torch.device,
    origins: Mapping[str, str] | None = None,
    *,
    half: bool = False,
) -> DistillationSetup:
    """Load the teachers, pair them with ``student`` and build the methods.

    Args:
        config: Teachers, layers and methods.
        student: The network to train.
        device: Where the teachers run.
        origins: Where each setting came from, for messages.
        half: Run the teachers in half precision.

    Raises:
        WeightsError: A teacher cannot be read.
        ConfigError: Layers, classes or methods do not fit.
    """
    dtype = torch.float16 if half else torch.float32
    _check_numbers(config.methods, len(config.teachers))
    with name_setting("distill.teacher", origins):
        teachers = [load_teacher(source, device, dtype) for source in config.teachers]
    return join(config, student, teachers, origins)


def join(
    config: DistillConfig,
    student: GraphDetector,
    teachers: Sequence[Teacher],
    origins: Mapping[str, str] | None = None,
) -> DistillationSetup:
    """Pair loaded teachers with ``student`` and build the methods.

    Args:
        config: Layers and methods.
        student: The network to train.
        teachers: Its teachers, in the order of the run.
        origins: Where each setting came from, for messages.

    Raises:
        ConfigError: Layers, classes or methods do not fit.
    """
    lessons: dict[str, MethodBinding] = {}
    methods: dict[str, Method] = {}
    columns: list[Columns | None] = []
    for number, teacher in enumerate(teachers):
        mark = f"@{number + 1}" if len(teachers) > 1 else ""
        columns.append(shared_columns(config.classes, student.names, teacher.names))
        heard = {
            place: MethodBinding(
                _named(method, columns[-1]),
                number,
                _paired(config, method, student, teacher, origins),
            )
            for place, method in enumerate(config.methods)
            if method.teacher in (None, number + 1)
        }
        built: dict[str, Method] = {}
        if heard or not config.methods:
            built = build_methods(
                [lesson.config for lesson in heard.values()],
                [lesson.pairs.channels for lesson in heard.values()],
                numbers=list(heard),
                resize=config.resize,
                origins=origins,
            )
        for (name, method), lesson in zip(built.items(), heard.values(), strict=True):
            shared = columns[-1]
            if Need.CLASSES in method.needs and shared is not None and not shared[0]:
                raise refuse_classes(name, student.names, teacher.names)
            methods[name + mark], lessons[name + mark] = method, lesson
    taps = _union(pair.key for lesson in lessons.values() for pair in lesson.pairs.student)
    keys = [
        _union(
            tap.key
            for lesson in lessons.values()
            if lesson.teacher == number
            for tap in lesson.pairs.teacher
        )
        for number in range(len(teachers))
    ]
    picks = config.combine == "pick" and len(teachers) > 1
    everything = picks or (config.images is not None and config.pseudo_label < 1)
    if everything and any(shared is not None and not shared[0] for shared in columns):
        raise ConfigError(
            "A teacher has no class in common with the data: it can draw no pseudo-boxes, and "
            "nothing tells how well it finds the boxes of an image.",
            fix="Say which classes mean the same:  --set distill.classes=by-name  or a map; or let "
            "images without labels serve the methods alone:  --set distill.pseudo_label=1",
            code="T09",
        )
    return DistillationSetup(
        panel=Teachers(
            [teacher.sharing(own) for teacher, own in zip(teachers, keys, strict=True)],
            [
                everything
                or any(
                    Need.PREDICTIONS in methods[name].needs
                    for name, lesson in lessons.items()
                    if lesson.teacher == number
                )
                for number in range(len(teachers))
            ],
        ),
        lessons=lessons,
        methods=methods,
        views={
            name: View(
                teacher=lesson.teacher,
                student=tuple(taps.index(tap.key) for tap in lesson.pairs.student),
                shared=tuple(keys[lesson.teacher].index(tap.key) for tap in lesson.pairs.teacher),
                columns=columns[lesson.teacher] if Need.CLASSES in methods[name].needs else None,
                labels=_own_classes(columns[lesson.teacher]) if len(teachers) > 1 else None,
            )
            for name, lesson in lessons.items()
        },
        weights=_weights(lessons, len(teachers), picks=picks),
        shares=_shares(config, lessons, methods, picks=picks),
        taps=taps,
        columns=tuple(column_of(found, len(student.names)) for found in columns),
        records=tuple({**teacher.record, "names": list(teacher.names)} for teacher in teachers),
    )


def _weights(
    lessons: Mapping[str, MethodBinding], teachers: int, *, picks: bool
) -> dict[str, float]:
    """Split a fixed weight between the teachers that an image hears; 1 where it is measured."""
    weights: dict[str, float] = {}
    for name, lesson in lessons.items():
        given = lesson.config.weight
        heard = teachers if lesson.config.teacher is None and not picks else 1
        weights[name] = 1.0 if given == "auto" else given / heard
    return weights


def _shares(
    config: DistillConfig,
    lessons: Mapping[str, MethodBinding],
    methods: Mapping[str, Method],
    *,
    picks: bool,
) -> dict[str, float]:
    """Split the ratio between the methods with ``weight: auto`` that an image hears."""
    automatic = {name: found for name, found in lessons.items() if found.config.weight == "auto"}
    return {
        name: (config.ratio or methods[name].ratio)
        / sum(not picks or other.teacher == lesson.teacher for other in automatic.values())
        for name, lesson in automatic.items()
    }


def _check_numbers(methods: Sequence[MethodConfig], teachers: int) -> None:
    """Refuse a method of a teacher that is not there, and a teacher that nobody listens to."""
    for place, method in enumerate(methods):
        if method.teacher is not None and method.teacher > teachers:
            raise ConfigError(
                f"distill.methods.{place}: '{method.name}' listens to teacher {method.teacher}, "
                f"but there {'is 1' if teachers == 1 else f'are {teachers}'}",
                code="T28",
            )
    for number in range(1, teachers + 1):
        if methods and not any(method.teacher in (None, number) for method in methods):
            raise ConfigError(
                f"no method listens to teacher {number}",
                fix=f"Leave it out, or add  --method fgd:teacher={number}",
                code="T28",
            )


def _named(method: MethodConfig, columns: Columns | None) -> MethodConfig:
    """Return the method that ``auto`` stands for: what docs/benchmarks.md found best.

    Responses where both networks have classes in common, else features.
    """
    if method.name != AUTO:
        return method
    if method.options:
        listed = ", ".join(method.options)
        what = f"the method '{AUTO}' has no options, but is given {listed}"
        raise ConfigError(
            what, fix="Name the method:  --method fgd  (all: tutelage methods)", code="T22"
        )
    common = columns is None or bool(columns[0])
    return method.model_copy(update={"name": RESPONSES if common else FEATURES})


def _paired(
    config: DistillConfig,
    method: MethodConfig,
    student: GraphDetector,
    teacher: Teacher,
    origins: Mapping[str, str] | None,
) -> Pairs:
    ours, theirs = method.student_kd_layers, method.teacher_kd_layers
    own = ours is not None or theirs is not None
    if own:
        origin = f"method {method.name}"
        origins = {"distill.student_kd_layers": origin, "distill.teacher_kd_layers": origin}
    return pair(
        student,
        teacher.network if isinstance(teacher, NativeTeacher) else teacher,
        student_layers=ours if own else config.student_kd_layers,
        teacher_layers=theirs if own else config.teacher_kd_layers,
        resize=bool(config.resize),
        origins=origins,
    )


def _union(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


def _own_classes(columns: Columns | None) -> tuple[int, ...] | None:
    """Return the student's classes that a teacher knows, where it knows only some of them."""
    return columns[0] if columns is not None and columns[0] else None


def column_of(columns: Columns | None, classes: int) -> tuple[int, ...]:
    """Return the teacher's column of each class of the student; -1: it does not know it."""
    if columns is None:
        return tuple(range(classes))
    known = dict(zip(*columns, strict=True))
    return tuple(known.get(number, -1) for number in range(classes))
