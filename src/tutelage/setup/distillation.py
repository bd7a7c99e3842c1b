"""Loads the teachers of a run and binds the methods to them: layers, classes, weights."""

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
    class_mismatch,
    pair,
    shared_columns,
)
from tutelage.distill.build import MethodFaults, find_method
from tutelage.distill.class_mapping import Columns
from tutelage.errors import ConfigError
from tutelage.models.graph import GraphDetector
from tutelage.structures import Tap
from tutelage.teachers import NativeTeacher, Teacher, Teachers, load_teacher

AUTO = "auto"
LOWER = 2.0  # the largest default ratio where detections are matched, and beside FGD for auto
OF_LAYERS, RESPONSES, FEATURES = "fgd", "bckd", "cwd"  # what it may stand for
REASONS = {
    OF_LAYERS: f"{OF_LAYERS} since layers are named, with {RESPONSES} if classes are shared",
    FEATURES: f"{FEATURES} since teacher and data have no class in common; else {RESPONSES}",
}


class MethodBinding(NamedTuple):
    """A method bound to one teacher.

    Attributes:
        config: The method's settings.
        teacher: The number of the teacher.
        pairs: The layers it compares, in pair order.
    """

    config: MethodConfig
    teacher: int
    pairs: Pairs


class DistillationSetup(NamedTuple):
    """The teachers of a run, and the methods that compare its student with them.

    Attributes:
        teachers: The teachers.
        bindings: Teacher and layers of each method, by the method's name in the run.
        methods: The methods by name; with several teachers, ``fgd@1``, ``fgd@2``.
        views: Maps and classes of each method.
        weights: The fixed weight per method; 1 for those that are measured.
        shares: For methods with ``weight: auto``, their share of the gradient ratio.
        taps: The student's layers that the methods compare.
        columns: Per teacher, the column of each class of the student; -1: the teacher lacks it.
        records: Per teacher, its identity and scores.
    """

    teachers: Teachers
    bindings: dict[str, MethodBinding]
    methods: dict[str, Method]
    views: dict[str, View]
    weights: dict[str, float]
    shares: dict[str, float]
    taps: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]
    records: tuple[dict[str, Any], ...]

    @property
    def runtimes(self) -> tuple[str, ...]:
        """How each teacher is run; those of other libraries by ``torch``."""
        teachers = self.teachers.teachers
        return tuple(t.runtime if isinstance(t, NativeTeacher) else "torch" for t in teachers)


def load_teachers(
    config: DistillConfig,
    device: torch.device,
    origins: Mapping[str, str] | None = None,
    *,
    half: bool = False,
) -> list[Teacher]:
    """Load the teachers of a run.

    Args:
        config: Teachers and methods.
        device: Where the teachers run.
        origins: Where each setting came from, for messages.
        half: Run the teachers in half precision.

    Raises:
        WeightsError: A teacher cannot be read.
        ConfigError: A method names a missing teacher, or a teacher has no method.
    """
    _check_numbers(config.methods, len(config.teachers))
    dtype = torch.float16 if half else torch.float32
    with name_setting("distill.teacher", origins):
        return [load_teacher(source, device, dtype) for source in config.teachers]


def bind_methods(
    config: DistillConfig,
    student: GraphDetector,
    teachers: Sequence[Teacher],
    origins: Mapping[str, str] | None = None,
) -> DistillationSetup:
    """Pair the layers of teachers and student, and build the methods.

    Args:
        config: Layers and methods.
        student: The network to train.
        teachers: Its teachers, in the order of the run.
        origins: Where each setting came from, for messages.

    Raises:
        ConfigError: Layers, classes or methods do not fit.
    """
    bindings: dict[str, MethodBinding] = {}
    methods: dict[str, Method] = {}
    columns = [shared_columns(config.classes, student.names, t.names) for t in teachers]
    for number, (teacher, shared) in enumerate(zip(teachers, columns, strict=True)):
        suffix = f"@{number + 1}" if len(teachers) > 1 else ""
        bound = [
            (place, MethodBinding(chosen, number, pairs))
            for place, method in enumerate(config.methods)
            if method.teacher in (None, number + 1)
            for chosen in resolve_auto(method, config, shared)
            for pairs in [_pair_layers(config, chosen, student, teacher, origins)]
        ]
        if not bound and config.methods:
            continue
        built = build_methods(
            [binding.config for _, binding in bound],
            [binding.pairs.channels for _, binding in bound],
            numbers=[place for place, _ in bound],
            resize=config.resize,
            origins=origins,
        )
        for (name, method), (_, binding) in zip(built.items(), bound, strict=True):
            if Need.CLASSES in method.needs and shared is not None and not shared[0]:
                raise class_mismatch(name, student.names, teacher.names)
            methods[name + suffix], bindings[name + suffix] = method, binding
    taps = _unique(tap for binding in bindings.values() for tap in binding.pairs.student)
    teacher_taps = [
        _unique(tap for b in bindings.values() if b.teacher == number for tap in b.pairs.teacher)
        for number in range(len(teachers))
    ]
    picks = config.combine == "pick" and len(teachers) > 1
    all_predict = picks or (config.images is not None and config.pseudo_label < 1)
    if all_predict and any(shared is not None and not shared[0] for shared in columns):
        raise ConfigError(
            "A teacher has no class in common with the data: it can draw no pseudo-boxes, and "
            "nothing tells how well it finds the boxes of an image.",
            fix="Say which classes mean the same:  --set distill.classes=by-name  or a map; or let "
            "images without labels serve the methods alone:  --set distill.pseudo_label=1",
            code="T09",
        )
    predicting = {
        binding.teacher
        for name, binding in bindings.items()
        if Need.PREDICTIONS in methods[name].needs
    }
    return DistillationSetup(
        teachers=Teachers(
            [teacher.sharing(keys) for teacher, keys in zip(teachers, teacher_taps, strict=True)],
            [all_predict or number in predicting for number in range(len(teachers))],
        ),
        bindings=bindings,
        methods=methods,
        views={
            name: View(
                teacher=number,
                student_maps=tuple(taps.index(tap.key) for tap in pairs.student),
                teacher_maps=tuple(teacher_taps[number].index(tap.key) for tap in pairs.teacher),
                columns=columns[number] if Need.CLASSES in methods[name].needs else None,
                labels=_shared_classes(columns[number]) if len(teachers) > 1 else None,
            )
            for name, (_, number, pairs) in bindings.items()
        },
        weights=_fixed_weights(bindings, len(teachers), picks=picks),
        shares=_ratio_shares(
            config,
            bindings,
            {
                name: default_ratio(methods[name], student, teachers[binding.teacher])
                for name, binding in bindings.items()
            },
            picks=picks,
        ),
        taps=taps,
        columns=tuple(teacher_columns(shared, len(student.names)) for shared in columns),
        records=tuple({**teacher.record, "names": list(teacher.names)} for teacher in teachers),
    )


def _fixed_weights(
    bindings: Mapping[str, MethodBinding], teachers: int, *, picks: bool
) -> dict[str, float]:
    """Split a fixed weight between the teachers of an image; 1 where it is measured."""
    weights: dict[str, float] = {}
    for name, (config, _, _) in bindings.items():
        count = teachers if config.teacher is None and not picks else 1
        weights[name] = 1.0 if config.weight == "auto" else config.weight / count
    return weights


def _ratio_shares(
    config: DistillConfig,
    bindings: Mapping[str, MethodBinding],
    defaults: Mapping[str, float],
    *,
    picks: bool,
) -> dict[str, float]:
    """Split the gradient ratio between the ``weight: auto`` methods that act on an image.

    A method that is given a ratio of its own has all of it.
    """
    automatic = {name: b for name, b in bindings.items() if b.config.weight == "auto"}
    return {
        name: binding.config.ratio
        or (config.ratio or defaults[name])
        / sum(not picks or other.teacher == binding.teacher for other in automatic.values())
        for name, binding in automatic.items()
    }


def default_ratio(method: Method, student: GraphDetector, teacher: Teacher) -> float:
    """Return the gradient ratio of a method that is given none.

    A teacher that is compared candidate by candidate says something about each of them; detections
    that are matched say little more than the labels do, and at 5 did harm on blood cells.
    """
    if Need.PREDICTIONS in method.needs and not _same_candidates(student, teacher):
        return min(method.ratio, LOWER)
    return method.ratio


def _same_candidates(student: GraphDetector, teacher: Teacher) -> bool:
    """Whether the n-th candidate of both is at the same place of an image of equal size."""
    network = getattr(teacher, "network", None)
    if not isinstance(network, GraphDetector):
        return False
    ours, theirs = student.head, network.head
    return (
        ours.fixed_candidates
        and theirs.fixed_candidates
        and (ours.strides, ours.candidates_per_cell) == (theirs.strides, theirs.candidates_per_cell)
    )


def _check_numbers(methods: Sequence[MethodConfig], teachers: int) -> None:
    """Reject methods of a missing teacher, and teachers without a method."""
    for place, method in enumerate(methods):
        if method.teacher is not None and method.teacher > teachers:
            raise ConfigError(
                f"distill.methods.{place}: '{method.name}' is bound to teacher {method.teacher}, "
                f"but there {'is 1' if teachers == 1 else f'are {teachers}'}",
                code="T28",
            )
    for number in range(1, teachers + 1):
        if methods and not any(method.teacher in (None, number) for method in methods):
            raise ConfigError(
                f"no method is bound to teacher {number}",
                fix=f"Leave it out, or add  --method fgd:teacher={number}",
                code="T28",
            )


def resolve_auto(
    method: MethodConfig, config: DistillConfig, columns: Columns | None
) -> tuple[MethodConfig, ...]:
    """Replace ``auto`` by the methods that fit.

    What docs/benchmarks.md found best: a response method if the networks share classes, a feature
    method if not. Where layers are named, FGD compares them, as in the article that this package
    follows: to the best method they mean next to nothing. The best one stands beside it, since
    FGD alone finds less; of the two each has its whole default ratio, at most 2.

    Args:
        method: The method's settings.
        config: The settings of the run, whose layers the method has if it names none.
        columns: The classes that student and teacher share; None: all.
    """
    if method.name != AUTO:
        return (method,)
    if method.options:
        listed = ", ".join(method.options)
        what = f"the method '{AUTO}' has no options, but is given {listed}"
        raise ConfigError(
            what, fix="Name the method:  --method fgd  (all: tutelage methods)", code="T22"
        )
    classes_shared = columns is None or bool(columns[0])
    if names_layers(method, config) and classes_shared:
        return tuple(
            method.model_copy(update={"name": name, "ratio": _ratio_of_two(method, config, name)})
            for name in (OF_LAYERS, RESPONSES)
        )
    unnamed = RESPONSES if classes_shared else FEATURES
    name = OF_LAYERS if names_layers(method, config) else unnamed
    return (method.model_copy(update={"name": name}),)


def _ratio_of_two(method: MethodConfig, config: DistillConfig, name: str) -> float | None:
    """Return the ratio of one of the two methods that ``auto`` stands for; None: as of any two."""
    if method.ratio is not None:
        return method.ratio / 2
    split = method.weight != "auto" or config.ratio is not None
    return None if split else min(find_method(name).ratio, LOWER)


def names_layers(method: MethodConfig, config: DistillConfig) -> bool:
    """Return whether someone named the layers that a method compares."""
    return any(
        layers is not None
        for each in (method, config)
        for layers in (each.student_kd_layers, each.teacher_kd_layers)
    )


def _pair_layers(
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
        zoom=_zoom(config, method),
    )


def _zoom(config: DistillConfig, method: MethodConfig) -> float:
    """Return how much larger the teacher sees the maps of a method; 1 if it reads no maps."""
    try:
        reads_maps = Need.FEATURES in find_method(method.name).needs
    except MethodFaults:  # reported when the methods are built
        return 1.0
    return config.teacher_scale if reads_maps else 1.0


def _unique(taps: Iterable[Tap]) -> tuple[str, ...]:
    """Return the keys of taps, without duplicates, in order."""
    return tuple(dict.fromkeys(tap.key for tap in taps))


def _shared_classes(columns: Columns | None) -> tuple[int, ...] | None:
    """Return the student's classes that a teacher has; None: all."""
    return columns[0] if columns is not None and columns[0] else None


def teacher_columns(columns: Columns | None, classes: int) -> tuple[int, ...]:
    """Return the teacher's column of each class of the student; -1: the teacher lacks it."""
    if columns is None:
        return tuple(range(classes))
    known = dict(zip(*columns, strict=True))
    return tuple(known.get(number, -1) for number in range(classes))
