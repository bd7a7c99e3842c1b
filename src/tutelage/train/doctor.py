"""The pre-flight alone: would this teacher teach this student on this data, and how best?

Nothing is trained and nothing is written, but for the shared caches of labels and of the teacher's
scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch

from tutelage.config.schema import Config, DistillConfig, MethodConfig
from tutelage.distill import METHODS, Method, Need, Pairs, build_methods, refuse_classes
from tutelage.distill.similarity import map_similarity
from tutelage.errors import ConfigError, DataError, TeacherError, UserError
from tutelage.evaluation.speed import timed
from tutelage.structures import Batch, Output, Tap
from tutelage.teachers import Panel, fingerprint
from tutelage.train.advice import Case, Suggestion, suggestions
from tutelage.train.assemble import Parts, assemble
from tutelage.train.calibrate import Reading, buffers_restored, measure
from tutelage.train.outset import at_outset
from tutelage.train.preflight import preflight
from tutelage.train.prepare import scores_on_val
from tutelage.train.readings import BATCH, batches_with_boxes
from tutelage.train.task import Task
from tutelage.train.teaching import Teaching, worth

IMAGES = 64  # for gradients and similarity: enough to choose by; a run measures on 512
REPEATS = 3  # timed steps of each kind
STAGES = ("networks and data", "teacher's AP", "wiring", "similarity", "gradients", "cost")


class Stage(NamedTuple):
    """The next part begins; ``number`` of them are done."""

    title: str
    number: int


class Finding(NamedTuple):
    """Something to know; an error would keep a run from starting."""

    level: Literal["error", "warning", "info"]
    text: str
    fix: str = ""


class Worth(NamedTuple):
    """The teacher on this val split: its scores, None where it shares no class name."""

    source: str
    scores: Mapping[str, float] | None


class Level(NamedTuple):
    """A pair of layers: the size of the teacher's map, and the linear CKA of both."""

    student: Tap
    teacher: Tap
    size: tuple[int, int]
    similarity: float


class Measured(NamedTuple):
    """A method at work.

    Attributes:
        name: The method.
        weight: What ``weight: auto`` would choose, or the fixed weight.
        fixed: Whether the weight was given.
        quartiles: ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at the taps at that weight, over batches.
        levels: The median of the same at each tap.
        milliseconds: What it adds to a step, apart from the teacher's pass.
    """

    name: str
    weight: float
    fixed: bool
    quartiles: tuple[float, float, float]
    levels: tuple[float, ...]
    milliseconds: float


class StepCost(NamedTuple):
    """Milliseconds per step of so many images: without a teacher, and the teacher's pass."""

    images: int
    plain: float
    teacher: float


Entry = Stage | Finding | Worth | Level | Measured | StepCost | Suggestion


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
    yield Stage(STAGES[0], 0)
    parts = assemble(config, origins)
    teaching = parts.teaching
    if teaching is None:
        raise ConfigError("No teacher is given.", fix="Add  --teacher runs/teacher")
    if len(teaching.records) > 1:
        raise ConfigError("Only one teacher is examined at a time.", fix="Give one  --teacher")
    pairs = _pairs(teaching)
    size = min(config.train.batch, BATCH)
    batches = [b.floating() for b in batches_with_boxes(parts, max(-(-IMAGES // size), 2))]
    if not batches:
        raise DataError("No training batch holds a box: the teacher has nothing to point at.")
    yield Stage(STAGES[1], 1)
    judged = _judged(parts, teaching)
    yield from judged
    yield Stage(STAGES[2], 2)
    fitting: dict[str, Method] = {}
    for name, found in _wired(parts, teaching, batches[0], all_methods=all_methods):
        if isinstance(found, Finding):
            yield found
        else:
            fitting[name] = found
    for notice in at_outset(parts, batches):
        yield Finding(notice.level, notice.text)
    if config.model.weights is None:
        yield Finding("info", "The student is untrained: a CKA near 0 is what to expect.")
    yield Stage(STAGES[3], 3)
    task = Task(parts.student, parts.bare.criterion, fitting, None, parts.bare.taps)
    task.to(parts.accelerator.device)
    teacher = Panel(teaching.panel.teachers, [task.needs_predictions])
    levels = list(_levels(task, pairs, teacher, batches))
    yield from levels
    yield Stage(STAGES[4], 4)
    reading = _reading(parts, teaching, task, teacher, batches)
    yield Stage(STAGES[5], 5)
    device = parts.accelerator.device
    yield _cost(task, teacher, batches[0], device)
    measured = [
        _measured(name, parts, reading, _added(task, name, teacher, batches[0], device))
        for name in fitting
    ]
    yield from measured
    yield from suggestions(_case(parts, teaching, batches[0], judged, levels, measured))


def _pairs(teaching: Teaching) -> Pairs:
    """Return the pairs that all methods compare.

    Raises:
        ConfigError: They compare different ones.
    """
    found = {lesson.pairs for lesson in teaching.lessons.values()}
    if len(found) > 1:
        raise ConfigError(
            "The methods compare different layers.", fix="Examine one list of layers at a time."
        )
    return found.pop()


def _check_classes(name: str, method: Method, parts: Parts, teaching: Teaching) -> None:
    ours, theirs = parts.student.names, teaching.panel.teachers[0].names
    if Need.CLASSES in method.needs and list(ours) != list(theirs):
        raise refuse_classes(name, ours, theirs)


def _judged(parts: Parts, teaching: Teaching) -> list[Worth | Finding]:
    """Return what the teacher is worth on val, and whether a trained student is better already."""
    source = str(teaching.records[0]["source"])
    try:
        scores = worth(teaching, 0, parts.val, parts.config, parts.accelerator.device)
    except TeacherError as error:
        return [Finding("error", error.what, error.fix)]
    if scores is None:
        return [Worth(source, None), Finding("warning", "Teacher and data share no class name.")]
    if parts.config.model.weights is None:
        return [Worth(source, scores)]
    start = scores_on_val(parts, parts.bare.student).AP
    said: list[Worth | Finding] = [Worth(source, scores)]
    if start > scores["AP"]:
        text = f"The student starts at AP {start:.3f}, above its teacher's {scores['AP']:.3f}."
        said.append(Finding("warning", text, "Fine-tune the teacher on this data first."))
    return said


def _wired(
    parts: Parts, teaching: Teaching, batch: Batch, *, all_methods: bool
) -> Iterator[tuple[str, Method | Finding]]:
    """Yield every method that passes the pre-flight, and what is wrong with the others."""
    own: dict[str, Any] = dict(parts.bare.methods)
    for name, method in own.items():
        yield name, _proven(parts, teaching, name, method, batch, "error")
    config = parts.config.distill
    for name in METHODS if all_methods else ():
        if name in own:
            continue
        try:
            made = build_methods(
                [MethodConfig(name=name)], [_pairs(teaching).channels], resize=config.resize
            )
            _check_classes(name, made[name], parts, teaching)
        except UserError as error:
            yield name, Finding("info", f"{name} does not fit: {error.what}")
            continue
        yield name, _proven(parts, teaching, name, made[name], batch, "info")


def _proven(
    parts: Parts,
    teaching: Teaching,
    name: str,
    method: Method,
    batch: Batch,
    level: Literal["error", "info"],
) -> Method | Finding:
    task = Task(parts.student, parts.bare.criterion, {name: method}, None, parts.bare.taps)
    try:
        preflight(
            task.to(parts.accelerator.device),
            Panel(teaching.panel.teachers, [task.needs_predictions]),
            lambda: fingerprint(teaching.panel.state()),
            batch,
        )
    except UserError as error:
        return Finding(level, error.what, error.fix if level == "error" else "")
    return method


@torch.no_grad()
def _levels(task: Task, pairs: Pairs, teacher: Panel, batches: Sequence[Batch]) -> Iterator[Level]:
    with buffers_restored(task):
        task.train()
        ours = [task.student(b.images, task.taps, head=False).taps for b in batches]
    theirs = [teacher(b.images)[0].features for b in batches]
    for number, (mine, other) in enumerate(zip(pairs.student, pairs.teacher, strict=True)):
        student = [taps[number] for taps in ours]
        features = [maps[number] for maps in theirs]
        size = (int(features[0].shape[-2]), int(features[0].shape[-1]))
        values = [map_similarity(s, t) for s, t in zip(student, features, strict=True)]
        yield Level(mine, other, size, float(np.nanmean(values)))


def _reading(
    parts: Parts, teaching: Teaching, task: Task, teacher: Any, batches: Sequence[Batch]
) -> Reading:
    """Return the gradients of all methods; those that the run does not use as if alone."""
    shares = {name: teaching.shares.get(name, parts.config.distill.ratio) for name in task.methods}
    return measure(task, teacher, batches, shares) if shares else Reading({}, {})


def _cost(task: Task, teacher: Any, batch: Batch, device: torch.device) -> StepCost:
    plain = Task(task.student, task.criterion)

    def step() -> None:
        total: Any = sum(plain(batch).detection.values())
        total.backward()

    with buffers_restored(plain):
        milliseconds = timed(step, device=device, repeats=REPEATS).p50_ms
    plain.zero_grad(set_to_none=True)
    taught = timed(lambda: teacher(batch.images), device=device, repeats=REPEATS)
    return StepCost(len(batch.images), milliseconds, taught.p50_ms)


def _added(task: Task, name: str, teacher: Any, batch: Batch, device: torch.device) -> float:
    """Return the time of a method alone, forward and back to what it compares.

    The student's own passes are the same with and without it.
    """
    method: Any = task.methods[name]
    size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
    known = teacher(batch.images)[0]
    with torch.no_grad(), buffers_restored(task):
        out = task.student(batch.images, task.taps)
    leaves = Output(
        None if out.raw is None else tuple(raw.requires_grad_() for raw in out.raw),
        tuple(tap.requires_grad_() for tap in out.taps),
    )

    def step() -> None:
        terms = method(task.knowledge(leaves, size), known, batch.targets, size)
        torch.stack(list(terms.values())).sum().backward()

    found = timed(step, device=device, repeats=REPEATS).p50_ms
    method.zero_grad(set_to_none=True)
    return found


def _measured(name: str, parts: Parts, reading: Reading, milliseconds: float) -> Measured:
    teaching = parts.teaching
    fixed = teaching is not None and name in parts.bare.methods and name not in teaching.shares
    weight = parts.bare.weights[name] if fixed else reading.weights[name]
    low, middle, high = (
        weight * float(q) for q in np.quantile(reading.ratios[name], (0.25, 0.5, 0.75))
    )
    levels = tuple(weight * median(each) for each in zip(*reading.levels[name], strict=True))
    return Measured(name, weight, fixed, (low, middle, high), levels, milliseconds)


def _case(
    parts: Parts,
    teaching: Teaching,
    batch: Batch,
    judged: Sequence[Worth | Finding],
    levels: Sequence[Level],
    measured: Sequence[Measured],
) -> Case:
    student = parts.student
    inputs = student.tap(student.layers[-1].sources)
    own = [m for m in measured if m.name in parts.bare.methods]
    predictions = parts.bare.needs_predictions
    distill: DistillConfig = parts.config.distill
    return Case(
        taps=_pairs(teaching).student,
        head_inputs=inputs,
        given_layers=bool(distill.student_kd_layers or distill.teacher_kd_layers),
        similarity=tuple(level.similarity for level in levels),
        equal_heads=predictions or _equal_heads(parts, teaching, batch),
        features=any(
            Need.FEATURES in cast("Method", method).needs for method in parts.bare.methods.values()
        ),
        predictions=predictions,
        fixed={m.name: m.quartiles[1] for m in own if m.fixed},
        automatic={m.name: m.weight for m in own if not m.fixed},
        ratio=distill.ratio,
        weak=any(isinstance(j, Finding) for j in judged),
    )


def _equal_heads(parts: Parts, teaching: Teaching, batch: Batch) -> bool:
    if list(parts.student.names) != list(teaching.panel.teachers[0].names):
        return False
    made = build_methods([MethodConfig(name="bckd")], [_pairs(teaching).channels])
    [(name, method)] = made.items()
    return isinstance(_proven(parts, teaching, name, method, batch, "info"), Method)
