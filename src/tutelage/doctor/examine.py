"""The pre-flight alone: would this teacher teach this student on this data, and how best?

Nothing is trained and nothing is written, but for the shared caches of labels and of the teacher's
scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from statistics import median
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch

from tutelage.config.schema import Config, MethodConfig
from tutelage.distill import METHODS, Method, Need
from tutelage.distill.cka import map_similarity
from tutelage.doctor.advice import AdviceInput, suggestions
from tutelage.doctor.findings import (
    STAGES,
    DoctorFinding,
    Entry,
    ExaminationStage,
    LayerPairReport,
    MethodReport,
    StepCost,
    TeacherScores,
)
from tutelage.errors import ConfigError, DataError, TeacherError, UserError
from tutelage.evaluation.speed import timed
from tutelage.run.kd_weights import batches_with_boxes, first_images, measurement_batch
from tutelage.run.preflight.before_training import weaker_teachers
from tutelage.run.preflight.teacher_scores import evaluate_teacher
from tutelage.run.preflight.warnings import check_setup
from tutelage.run.preflight.wiring import check_wiring
from tutelage.setup.build import RunParts, assemble
from tutelage.setup.distillation import DistillationSetup, MethodBinding, bind_methods
from tutelage.structures import Batch, Output, Tap, height_width
from tutelage.teachers import Teacher
from tutelage.teachers.cached import CachedTeachers
from tutelage.train.gradient_ratio import WeightReading, buffers_restored, measure_weights
from tutelage.train.supervision import SupervisedBatch
from tutelage.train.task import Task

IMAGES = 48  # for gradients and similarity: enough to choose by; a run measures on 512
REPEATS = 2  # timed steps of each kind


class Candidate(NamedTuple):
    """A method that fits: its settings, its share of the ratio, whether it is the run's own."""

    config: MethodConfig
    share: float
    own: bool


def examine(
    config: Config, origins: Mapping[str, str] | None = None, *, all_methods: bool = False
) -> Iterator[Entry]:
    """Examine a distilled run without running it.

    Args:
        config: All settings, with a teacher.
        origins: Where each came from, for messages.
        all_methods: Measure every method that fits the pair, not only the run's.

    Yields:
        Stages and what was found, suggestions last.

    Raises:
        UserError: The parts cannot be built: data, model, teacher, layers, image size, device.
    """
    yield ExaminationStage(STAGES[0], 0)
    parts = assemble(config, origins)
    if parts.teaching is None:
        raise ConfigError("No teacher is given.", fix="Add  --teacher runs/teacher", code="C26")
    count = max(-(-IMAGES // measurement_batch(parts)), 2)
    batches = [b.floating() for b in batches_with_boxes(parts, count)]
    if not batches:
        raise DataError(
            "No training batch holds a box: the teacher has nothing to point at.", code="D26"
        )
    yield ExaminationStage(STAGES[1], 1)
    judged = list(_judged(parts, parts.teaching))
    yield from judged
    yield ExaminationStage(STAGES[2], 2)
    fitting: list[Candidate] = []
    first = first_images(batches[0])
    for found in _wired(parts, parts.teaching, first, all_methods=all_methods):
        if isinstance(found, DoctorFinding):
            yield found
        else:
            fitting.append(found)
    for notice in check_setup(parts, [first]):
        yield DoctorFinding(notice.level, notice.text)
    if config.model.weights is None:
        yield DoctorFinding("info", "The student is untrained: a CKA near 0 is what to expect.")
    yield ExaminationStage(STAGES[3], 3)
    teaching, methods = parts.teaching, {}
    if fitting:  # in the order in which several teachers are joined
        fitting.sort(key=lambda candidate: candidate.config.teacher or 0)
        found = [candidate.config for candidate in fitting]
        teaching = _joined(parts, found, teaching.panel.teachers)
        methods = dict(zip(teaching.methods, fitting, strict=True))
    task = _task(parts, teaching, list(methods))
    device = parts.accelerator.device
    teacher = CachedTeachers(teaching.panel)
    levels = list(_levels(task, teaching, teacher, batches))
    yield from levels
    yield ExaminationStage(STAGES[4], 4)
    shares = {name: candidate.share for name, candidate in methods.items()}
    balanced = {name for name, candidate in methods.items() if candidate.config.weight == "auto"}
    reading = WeightReading({}, {})
    if shares:
        reading = measure_weights(
            task,
            teacher,
            batches,
            shares,
            adjust_balance=lambda name, found: found if name in balanced else [1.0] * len(found),
        )
    yield ExaminationStage(STAGES[5], 5)
    yield _cost(task, teacher, batches[0], device)
    measured = [
        _measured(
            name,
            teaching.lessons[name],
            reading,
            _added(task, name, teacher, batches[0], device),
        )
        for name in methods
    ]
    yield from measured
    own = [found for found in measured if methods[found.name].own]
    yield from suggestions(_case(parts, teaching, first, judged, levels, own))


def _judged(
    parts: RunParts, teaching: DistillationSetup
) -> Iterator[TeacherScores | DoctorFinding]:
    """Yield what each teacher is worth on val, and whether a trained student is better already."""
    known: dict[str, float] = {}
    for number, record in enumerate(teaching.records):
        source = str(record["source"])
        try:
            scores = evaluate_teacher(
                teaching, number, parts.val, parts.config, parts.accelerator.device
            )
        except TeacherError as error:
            yield DoctorFinding("error", error.what, error.fix)
            continue
        yield TeacherScores(source, scores)
        if scores is None:
            yield DoctorFinding("warning", f"{source} and the data share no class name.")
        else:
            known[source] = scores["AP"]
    yield from (DoctorFinding("warning", text) for text in weaker_teachers(parts, known))


def _wired(
    parts: RunParts, teaching: DistillationSetup, batch: Batch, *, all_methods: bool
) -> Iterator[Candidate | DoctorFinding]:
    """Yield every method that passes the pre-flight, and what is wrong with the others."""
    teachers = teaching.panel.teachers
    several = len(teachers) > 1
    for name, method in teaching.methods.items():
        lesson = teaching.lessons[name]
        number = lesson.teacher + 1 if several else None
        config = lesson.config.model_copy(update={"teacher": number})
        if name not in teaching.shares:
            config = config.model_copy(update={"weight": teaching.weights[name]})
        share = teaching.shares.get(name, _wanted(parts, method))
        yield _fault(parts, teaching, name, batch, "error") or Candidate(config, share, own=True)
    own = {lesson.config.name for lesson in teaching.lessons.values()}
    for number, teacher in enumerate(teachers, 1):
        for name in METHODS if all_methods else ():
            if name in own:
                continue
            try:
                alone = _joined(parts, [MethodConfig(name=name)], [teacher])
            except UserError as error:
                yield DoctorFinding("info", f"{name} does not fit: {error.what}")
                continue
            config = MethodConfig(name=name, teacher=number if several else None)
            yield _fault(parts, alone, name, batch, "info") or Candidate(
                config, _wanted(parts, alone.methods[name]), own=False
            )


def _wanted(parts: RunParts, method: Method) -> float:
    """Return how strongly a method should teach if it were alone."""
    return parts.config.distill.ratio or method.ratio


def _joined(
    parts: RunParts, methods: Sequence[MethodConfig], teachers: Sequence[Teacher]
) -> DistillationSetup:
    """Return the run's networks with other methods."""
    config = parts.config.distill.model_copy(update={"methods": tuple(methods)})
    return bind_methods(config, parts.student, teachers)


def _task(parts: RunParts, teaching: DistillationSetup, names: Sequence[str]) -> Task:
    """Return a task of some methods, their weights not applied."""
    methods = {name: teaching.methods[name] for name in names}
    views = {name: teaching.views[name] for name in names}
    task = Task(parts.student, parts.unwrapped_task.criterion, methods, None, teaching.taps, views)
    return task.to(parts.accelerator.device)


def _fault(
    parts: RunParts,
    teaching: DistillationSetup,
    name: str,
    batch: Batch,
    level: Literal["error", "info"],
) -> DoctorFinding | None:
    try:
        check_wiring(_task(parts, teaching, [name]), teaching.panel, batch)
    except UserError as error:
        return DoctorFinding(level, error.what, error.fix if level == "error" else "")
    return None


@torch.no_grad()
def _levels(
    task: Task, teaching: DistillationSetup, teacher: CachedTeachers, batches: Sequence[Batch]
) -> Iterator[LayerPairReport]:
    with buffers_restored(task):
        task.train()
        ours = [task.student(b.images, teaching.taps, head=False).taps for b in batches]
    theirs = [teacher(b) for b in batches]
    done: set[tuple[int, Tap, Tap]] = set()
    for name, lesson in teaching.lessons.items():
        view = teaching.views[name]
        for number, (mine, other) in enumerate(zip(*lesson.pairs, strict=True)):
            if (lesson.teacher, mine, other) in done:
                continue
            done.add((lesson.teacher, mine, other))
            here, there = view.map_positions(number)
            maps = [known[lesson.teacher].features[there] for known in theirs]
            size = height_width(maps[0])
            values = [map_similarity(s[here], t) for s, t in zip(ours, maps, strict=True)]
            known = [value for value in values if np.isfinite(value)]
            yield LayerPairReport(
                mine, other, lesson.teacher + 1, size, float(np.mean(known)) if known else nan
            )


def _cost(task: Task, teacher: CachedTeachers, batch: Batch, device: torch.device) -> StepCost:
    plain = Task(task.student, task.criterion)

    def step() -> None:
        total: Any = sum(plain(SupervisedBatch(batch)).detection.values())
        total.backward()

    with buffers_restored(plain):
        milliseconds = timed(step, device=device, repeats=REPEATS, warmup=0).p50_ms
    plain.zero_grad(set_to_none=True)
    return StepCost(len(batch.images), milliseconds, teacher.milliseconds())


def _added(
    task: Task, name: str, teacher: CachedTeachers, batch: Batch, device: torch.device
) -> float:
    """Return the time of a method alone, forward and back to what it compares.

    The student's own passes are the same with and without it.
    """
    supervised = SupervisedBatch(batch, teacher(batch))
    with torch.no_grad(), buffers_restored(task):
        out = task.student(batch.images, task.taps)
    leaves = Output(
        None if out.raw is None else tuple(raw.requires_grad_() for raw in out.raw),
        tuple(tap.requires_grad_() for tap in out.taps),
    )

    def step() -> None:
        student = task.knowledge(leaves, batch.image_size)
        terms = task.method_terms(name, student, supervised)
        torch.stack(list(terms.values())).sum().backward()

    found = timed(step, device=device, repeats=REPEATS, warmup=0).p50_ms
    task.methods[name].zero_grad(set_to_none=True)
    return found


def _measured(
    name: str, lesson: MethodBinding, reading: WeightReading, milliseconds: float
) -> MethodReport:
    given = lesson.config.weight
    weight = reading.weights[name] if given == "auto" else float(given)
    low, middle, high = (
        weight * float(q) for q in np.quantile(reading.ratios[name], (0.25, 0.5, 0.75))
    )
    each = zip(*reading.levels[name], strict=True)
    levels = {
        tap.key: weight * median(values)
        for tap, values in zip(lesson.pairs.student, each, strict=True)
    }
    return MethodReport(name, weight, given != "auto", (low, middle, high), levels, milliseconds)


def _case(
    parts: RunParts,
    teaching: DistillationSetup,
    batch: Batch,
    judged: Sequence[TeacherScores | DoctorFinding],
    levels: Sequence[LayerPairReport],
    own: Sequence[MethodReport],
) -> AdviceInput:
    student, distill = parts.student, parts.config.distill
    taps = student.tap(list(dict.fromkeys(level.student.key for level in levels)))
    predictions = parts.unwrapped_task.needs_predictions
    return AdviceInput(
        taps=taps,
        head_inputs=student.tap(student.layers[-1].sources),
        given_layers=bool(distill.student_kd_layers or distill.teacher_kd_layers),
        similarity=tuple(
            min(level.similarity for level in levels if level.student == tap) for tap in taps
        ),
        comparable=predictions or _comparable(parts, batch),
        features=any(
            Need.FEATURES in cast("Method", method).needs
            for method in parts.unwrapped_task.methods.values()
        ),
        predictions=predictions,
        fixed={
            m.name: (m.quartiles[1], _wanted(parts, teaching.methods[m.name]))
            for m in own
            if m.fixed
        },
        automatic={m.name: m.weight for m in own if not m.fixed},
        weak=any(isinstance(j, DoctorFinding) for j in judged),
    )


def _comparable(parts: RunParts, batch: Batch) -> bool:
    """Whether the predictions of all teachers can be compared with the student's."""
    teachers = parts.teaching.panel.teachers if parts.teaching else ()
    try:
        joined = _joined(parts, [MethodConfig(name="bckd")], teachers)
    except UserError:
        return False
    return not any(_fault(parts, joined, name, batch, "info") for name in joined.methods)
