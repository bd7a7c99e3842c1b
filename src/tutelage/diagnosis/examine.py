"""Measure teacher, student and methods on a data set before a run.

Nothing is trained, and nothing is written except the caches of labels and of the teacher's scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import nan
from statistics import median
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch

from tutelage.config.schema import Config, MethodConfig
from tutelage.diagnosis.advice import AdviceInput, suggestions
from tutelage.diagnosis.findings import (
    STAGES,
    DoctorFinding,
    Entry,
    ExaminationStage,
    LayerPairReport,
    MethodReport,
    StepCost,
    TeacherScores,
)
from tutelage.distill import METHODS, Method, Need
from tutelage.distill.cka import map_similarity
from tutelage.errors import ConfigError, DataError, TeacherError, UserError
from tutelage.evaluation.speed import timed
from tutelage.run.kd_weights import batches_with_boxes, first_images, measurement_batch
from tutelage.run.preflight.before_training import no_common_class, weaker_teachers
from tutelage.run.preflight.teacher_scores import evaluate_teacher, size_warning, use_thresholds
from tutelage.run.preflight.warnings import check_setup
from tutelage.run.preflight.wiring import check_wiring
from tutelage.setup.build import RunParts, build_run, precision_of_checks
from tutelage.setup.distillation import (
    DistillationSetup,
    MethodBinding,
    bind_methods,
    default_ratio,
)
from tutelage.structures import Batch, Output, Tap, height_width
from tutelage.teachers import Teacher
from tutelage.teachers.cached import CachedTeachers
from tutelage.training.gradient_ratio import WeightReading, buffers_restored, measure_weights
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task

IMAGES = 48  # for gradients and similarity: a run measures on more
REPEATS = 2  # timed steps of each kind
MEASURED_AGAIN = (
    "A run measures the weight again after warm-up and up to its middle, since the balance changes."
)


class Candidate(NamedTuple):
    """A method that fits: its settings, its gradient ratio, and whether the run has it."""

    config: MethodConfig
    ratio: float
    own: bool


def examine(
    config: Config, origins: Mapping[str, str] | None = None, *, all_methods: bool = False
) -> Iterator[Entry]:
    """Examine a distillation run without training.

    Args:
        config: All settings, with a teacher.
        origins: Where each came from, for messages.
        all_methods: Measure every method that fits the pair, not only the run's.

    Yields:
        Stages and measurements, suggestions last.

    Raises:
        UserError: Data, model, teacher, layers, image size or device cannot be used.
    """
    yield ExaminationStage(STAGES[0], 0)
    parts = build_run(config, origins)
    if parts.distillation is None:
        raise ConfigError("No teacher is given.", fix="Add  --teacher runs/teacher", code="C26")
    count = max(-(-IMAGES // measurement_batch(parts)), 2)
    batches = [b.floating() for b in batches_with_boxes(parts, count)]
    if not batches:
        raise DataError(
            "No training batch holds a box: the teacher has nothing to point at.", code="D26"
        )
    yield ExaminationStage(STAGES[1], 1)
    teacher_entries = list(_evaluate_teachers(parts, parts.distillation))
    yield from teacher_entries
    yield from _size_warnings(parts, parts.distillation)
    yield ExaminationStage(STAGES[2], 2)
    fitting: list[Candidate] = []
    first = first_images(batches[0])
    for entry in _fitting_methods(parts, parts.distillation, first, all_methods=all_methods):
        if isinstance(entry, DoctorFinding):
            yield entry
        else:
            fitting.append(entry)
    for notice in check_setup(parts, [first]):
        yield DoctorFinding(notice.level, notice.text, code=notice.code)
    if config.model.weights is None:
        yield DoctorFinding("info", "The student is untrained: its CKA is near 0.")
    yield ExaminationStage(STAGES[3], 3)
    distillation, methods = parts.distillation, {}
    if fitting:  # in the order in which several teachers are joined
        fitting.sort(key=lambda candidate: candidate.config.teacher or 0)
        configs = [candidate.config for candidate in fitting]
        distillation = _with_methods(parts, configs, distillation.teachers.teachers)
        methods = dict(zip(distillation.methods, fitting, strict=True))
    task = _task(parts, distillation, list(methods))
    teacher = CachedTeachers(distillation.teachers)
    pairs = list(_layer_pairs(task, distillation, teacher, batches))
    yield from pairs
    yield ExaminationStage(STAGES[4], 4)
    ratios = {name: candidate.ratio for name, candidate in methods.items()}
    automatic = {name for name, candidate in methods.items() if candidate.config.weight == "auto"}
    reading = WeightReading({}, {})
    if ratios:
        with precision_of_checks(parts.accelerator):
            reading = measure_weights(
                task,
                teacher,
                batches,
                ratios,
                adjust_balance=lambda name, balance: (
                    balance if name in automatic else [1.0] * len(balance)
                ),
            )
    yield ExaminationStage(STAGES[5], 5)
    with precision_of_checks(parts.accelerator):
        cost = _step_cost(task, teacher, batches[0])
    yield cost
    reports: list[MethodReport] = []
    for name in methods:
        with precision_of_checks(parts.accelerator):
            milliseconds = _method_milliseconds(task, name, teacher, batches[0])
        reports.append(_report(name, distillation.bindings[name], reading, milliseconds))
    yield from reports
    own = [report for report in reports if methods[report.name].own]
    if not all(report.fixed for report in own):
        yield DoctorFinding("info", MEASURED_AGAIN)
    yield from suggestions(_advice_input(parts, distillation, first, teacher_entries, pairs, own))


def _evaluate_teachers(
    parts: RunParts, distillation: DistillationSetup
) -> Iterator[TeacherScores | DoctorFinding]:
    """Evaluate each teacher on val; warn if the student is better already."""
    scores_by_teacher: dict[str, float] = {}
    for number, record in enumerate(distillation.records):
        source = str(record["source"])
        try:
            scores = evaluate_teacher(
                distillation, number, parts.val, parts.config, parts.accelerator.device
            )
        except TeacherError as error:
            yield DoctorFinding("error", error.what, error.fix, error.code)
            continue
        record["scores"] = distillation.teachers.teachers[number].record["scores"] = scores
        yield TeacherScores(source, scores)
        if scores is None:
            text = no_common_class(record, parts.train.names)
            yield DoctorFinding("warning", text, code="T38")
        else:
            scores_by_teacher[source] = scores["AP"]
    use_thresholds(distillation.views, distillation.records)
    for text in weaker_teachers(parts, scores_by_teacher):
        yield DoctorFinding("warning", text, code="T21")


def _size_warnings(parts: RunParts, distillation: DistillationSetup) -> Iterator[DoctorFinding]:
    for record in distillation.records:
        if text := size_warning(record, parts.config.train.image_size):
            yield DoctorFinding("warning", text)


def _fitting_methods(
    parts: RunParts, distillation: DistillationSetup, batch: Batch, *, all_methods: bool
) -> Iterator[Candidate | DoctorFinding]:
    """Yield every method that passes the pre-flight, and a finding for each of the others."""
    teachers = distillation.teachers.teachers
    several = len(teachers) > 1
    for name, method in distillation.methods.items():
        binding = distillation.bindings[name]
        number = binding.teacher + 1 if several else None
        config = binding.config.model_copy(update={"teacher": number})
        if name not in distillation.shares:
            config = config.model_copy(update={"weight": distillation.weights[name]})
        ratio = distillation.shares.get(name, _ratio(parts, method, teachers[binding.teacher]))
        fault = _wiring_fault(parts, distillation, name, batch, "error")
        yield fault or Candidate(config, ratio, own=True)
    own = {binding.config.name for binding in distillation.bindings.values()}
    for number, teacher in enumerate(teachers, 1):
        for name in METHODS if all_methods else ():
            if name in own:
                continue
            try:
                alone = _with_methods(parts, [MethodConfig(name=name)], [teacher])
            except UserError as error:
                yield DoctorFinding("info", f"{name} does not fit: {error.what}")
                continue
            config = MethodConfig(name=name, teacher=number if several else None)
            fault = _wiring_fault(parts, alone, name, batch, "info")
            yield fault or Candidate(config, _ratio(parts, alone.methods[name], teacher), own=False)


def _ratio(parts: RunParts, method: Method, teacher: Teacher) -> float:
    """Return the gradient ratio of a method without others."""
    return parts.config.distill.ratio or default_ratio(method, parts.student, teacher)


def _with_methods(
    parts: RunParts, methods: Sequence[MethodConfig], teachers: Sequence[Teacher]
) -> DistillationSetup:
    """Return the distillation setup of the run with other methods."""
    config = parts.config.distill.model_copy(update={"methods": tuple(methods)})
    setup = bind_methods(config, parts.student, teachers)
    use_thresholds(setup.views, setup.records)
    return setup


def _task(parts: RunParts, distillation: DistillationSetup, names: Sequence[str]) -> Task:
    """Return a task with some methods and without their weights."""
    methods = {name: distillation.methods[name] for name in names}
    views = {name: distillation.views[name] for name in names}
    task = Task(
        parts.student, parts.unwrapped_task.criterion, methods, None, distillation.taps, views
    )
    return task.to(parts.accelerator.device)


def _wiring_fault(
    parts: RunParts,
    distillation: DistillationSetup,
    name: str,
    batch: Batch,
    level: Literal["error", "info"],
) -> DoctorFinding | None:
    try:
        check_wiring(_task(parts, distillation, [name]), distillation.teachers, batch)
    except UserError as error:
        fix, code = (error.fix, error.code) if level == "error" else ("", "")
        return DoctorFinding(level, error.what, fix, code)
    return None


@torch.no_grad()
def _layer_pairs(
    task: Task, distillation: DistillationSetup, teacher: CachedTeachers, batches: Sequence[Batch]
) -> Iterator[LayerPairReport]:
    with buffers_restored(task):
        task.train()
        student_maps = [task.student(b.images, distillation.taps, head=False).taps for b in batches]
    knowledge = [teacher(b) for b in batches]
    done: set[tuple[int, Tap, Tap]] = set()
    for name, binding in distillation.bindings.items():
        view = distillation.views[name]
        for number, (mine, other) in enumerate(zip(*binding.pairs, strict=True)):
            if (binding.teacher, mine, other) in done:
                continue
            done.add((binding.teacher, mine, other))
            here, there = view.map_positions(number)
            maps = [each[binding.teacher].features[there] for each in knowledge]
            size = height_width(maps[0])
            values = [map_similarity(s[here], t) for s, t in zip(student_maps, maps, strict=True)]
            finite = [value for value in values if np.isfinite(value)]
            similarity = float(np.mean(finite)) if finite else nan
            yield LayerPairReport(mine, other, binding.teacher + 1, size, similarity)


def _step_cost(task: Task, teacher: CachedTeachers, batch: Batch) -> StepCost:
    plain = Task(task.student, task.criterion)

    def step() -> None:
        total: Any = sum(plain(SupervisedBatch(batch)).detection.values())
        total.backward()

    with buffers_restored(plain):
        milliseconds = _milliseconds(step, batch)
    plain.zero_grad(set_to_none=True)
    return StepCost(len(batch.images), milliseconds, teacher.milliseconds())


def _method_milliseconds(task: Task, name: str, teacher: CachedTeachers, batch: Batch) -> float:
    """Return the time of a method alone, forward and backward to the student's outputs."""
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

    milliseconds = _milliseconds(step, batch)
    task.methods[name].zero_grad(set_to_none=True)
    return milliseconds


def _milliseconds(step: Callable[[], None], batch: Batch) -> float:
    return timed(step, device=batch.images.device, repeats=REPEATS, warmup=0).p50_ms


def _report(
    name: str, binding: MethodBinding, reading: WeightReading, milliseconds: float
) -> MethodReport:
    given = binding.config.weight
    weight = reading.weights[name] if given == "auto" else float(given)
    quartiles = weight * np.quantile(reading.ratios[name], (0.25, 0.5, 0.75))
    low, middle, high = quartiles.tolist()
    per_tap = zip(binding.pairs.student, zip(*reading.levels[name], strict=True), strict=True)
    levels = {tap.key: weight * median(values) for tap, values in per_tap}
    return MethodReport(name, weight, given != "auto", (low, middle, high), levels, milliseconds)


def _advice_input(
    parts: RunParts,
    distillation: DistillationSetup,
    batch: Batch,
    teacher_entries: Sequence[TeacherScores | DoctorFinding],
    pairs: Sequence[LayerPairReport],
    own: Sequence[MethodReport],
) -> AdviceInput:
    taps = parts.student.tap(list(dict.fromkeys(pair.student.key for pair in pairs)))
    predictions = parts.unwrapped_task.needs_predictions
    return AdviceInput(
        taps=taps,
        similarity=tuple(
            min(pair.similarity for pair in pairs if pair.student == tap) for tap in taps
        ),
        comparable=predictions or _comparable(parts, batch),
        features=any(
            Need.FEATURES in cast("Method", method).needs
            for method in parts.unwrapped_task.methods.values()
        ),
        predictions=predictions,
        fixed={
            m.name: (
                m.quartiles[1],
                _ratio(
                    parts,
                    distillation.methods[m.name],
                    distillation.teachers.teachers[distillation.bindings[m.name].teacher],
                ),
            )
            for m in own
            if m.fixed
        },
        weak=any(isinstance(entry, DoctorFinding) for entry in teacher_entries),
    )


def _comparable(parts: RunParts, batch: Batch) -> bool:
    """Whether the predictions of all teachers can be compared with the student's."""
    teachers = parts.distillation.teachers.teachers if parts.distillation else ()
    try:
        setup = _with_methods(parts, [MethodConfig(name="bckd")], teachers)
    except UserError:
        return False
    return not any(_wiring_fault(parts, setup, name, batch, "info") for name in setup.methods)
