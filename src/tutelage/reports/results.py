"""The results of the runs of a report, on the same images: scores, intervals, what they cost."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from tutelage.comparison.arms import BASELINE, Arm
from tutelage.comparison.cost import RunCost, read_cost
from tutelage.comparison.detections import (
    bootstrap_values,
    open_images,
    open_test_images,
    student_detections,
    teacher_detections,
)
from tutelage.comparison.run import DRAWS
from tutelage.comparison.table import ArmRow, RunResult, compare_arms
from tutelage.comparison.threads import unlike_threads
from tutelage.config.diff import compare_configs
from tutelage.config.schema import Config
from tutelage.data import DatasetIndex
from tutelage.data.opening import Split
from tutelage.errors import UserError
from tutelage.evaluation import Scores, bootstrap_metric, score
from tutelage.evaluation.bootstrap import Values
from tutelage.evaluation.coco import Table
from tutelage.evaluation.scores import to_table
from tutelage.models.weight_file import BEST
from tutelage.reports.model_size import (
    ExportSize,
    ModelSize,
    export_sizes,
    student_size,
    teacher_size,
)
from tutelage.reports.runs import RunFiles, same_but_for_seed, without_seed
from tutelage.run.teaching_cost import TeachingCost, read_teaching_cost
from tutelage.teachers import load_teacher

PREDICTIONS = "predictions.json"
FREE = ("run", "train.seed", "distill", "train.threads")  # what may differ between arms


class ReportArm(NamedTuple):
    """Runs that differ in nothing but their seed.

    Attributes:
        name: Its name in the report.
        runs: Its runs.
    """

    name: str
    runs: tuple[RunFiles, ...]

    @property
    def taught(self) -> bool:
        """Whether it has a teacher."""
        return self.runs[0].config.distill.teacher is not None


class Evaluated(NamedTuple):
    """The detections of a run or a teacher on the images of the report.

    Attributes:
        table: ``(n, 7)`` rows of image, x, y, w, h, score, class.
        scores: Their scores.
        size: Of a teacher, its size if known.
    """

    table: Table
    scores: Scores
    size: ModelSize | None = None


class Results(NamedTuple):
    """All that a report compares.

    Attributes:
        arms: The baseline first.
        split: The split of the images.
        images: Their index; None if they cannot be opened.
        runs: Detections and scores by the name of a run.
        teacher: Those of the best teacher that knows all classes; None without.
        rows: The comparison of the arms; empty for one arm or without data.
        teaching: What the teachers cost, by the name of a run.
        sizes: By the name of an arm.
        exports: What was exported from the first run of an arm, by its name.
        notes: What could not be compared or shown, and why.
    """

    arms: tuple[ReportArm, ...]
    split: Split
    images: DatasetIndex | None
    runs: Mapping[str, Evaluated]
    teacher: Evaluated | None
    rows: tuple[ArmRow, ...]
    teaching: Mapping[str, TeachingCost]
    sizes: Mapping[str, ModelSize]
    exports: Mapping[str, Sequence[ExportSize]]
    notes: tuple[str, ...]

    @property
    def teacher_on_val(self) -> float | None:
        """AP of the best teacher on val, as the runs have recorded it."""
        known = (
            teacher.get("scores", {}).get("AP")
            for arm in self.arms
            for run in arm.runs
            for teacher in run.teachers
        )
        return max((ap for ap in known if ap is not None), default=None)


def group_by_seed(runs: Sequence[RunFiles]) -> tuple[ReportArm, ...]:
    """Return runs that differ only in their seed as one arm each, in the order given."""
    groups: list[list[RunFiles]] = []
    for run in runs:
        group = next((each for each in groups if same_but_for_seed(each[0].config, run.config)), [])
        if not group:
            groups.append(group)
        group.append(run)
    names = [without_seed(group[0].name) for group in groups]
    return tuple(
        ReportArm(name if names.count(name) == 1 else group[0].name, tuple(group))
        for name, group in zip(names, groups, strict=True)
    )


def collect_results(runs: Sequence[RunFiles], *, draws: int = DRAWS) -> Results:
    """Evaluate runs on the same images and compare them with the first.

    One run is evaluated on val, so that its test images stay unseen; several on the test split, or
    on val where there is none. Detections are stored in the run folders and read again.

    Args:
        runs: The baseline first.
        draws: Bootstrap draws of the images.
    """
    arms = group_by_seed(runs)
    notes: list[str] = []
    first = arms[0].runs[0].config
    split, index = _open(first, several=len(runs) > 1, notes=notes)
    evaluated: dict[str, Evaluated] = {}
    if index is not None:
        for run in runs:
            found = _evaluate(run, split, index, notes)
            if found is not None:
                evaluated[run.name] = found
    teacher = None
    if index is not None and len(runs) > 1:  # of one run its files have the teacher's AP
        teacher = _teacher(arms, split, index, notes)
    rows: tuple[ArmRow, ...] = ()
    if index is not None and len(arms) > 1:
        rows = _compare(arms, evaluated, teacher, split, index, draws, notes)
    costs = ((run.name, read_teaching_cost(run.rows)) for run in runs)
    return Results(
        arms,
        split,
        index,
        evaluated,
        teacher,
        rows,
        {name: each for name, each in costs if each is not None},
        _sizes(arms),
        {arm.name: tuple(export_sizes(arm.runs[0])) for arm in arms},
        tuple(dict.fromkeys([*notes, *_unlike(arms)])),
    )


def _open(config: Config, *, several: bool, notes: list[str]) -> tuple[Split, DatasetIndex | None]:
    """Return the images of the report; None, with a note, if they cannot be opened."""
    try:
        return open_test_images(config) if several else ("val", open_images(config, "val"))
    except UserError as error:
        notes.append(f"The data cannot be opened, so there are no pictures and no errors: {error}")
        return "val", None


def _evaluate(
    run: RunFiles, split: Split, index: DatasetIndex, notes: list[str]
) -> Evaluated | None:
    """Return the detections of a run; None, with a note, if it cannot be evaluated on them."""
    try:
        own = run.config
        if not (run.folder / BEST).is_file():
            notes.append(f"{run.name} has no {BEST}: it was stopped before its first evaluation.")
            return None
        images = open_test_images(own)[1] if split == "test" else open_images(own, split)
        if images.evaluation_fingerprint != index.evaluation_fingerprint:
            notes.append(
                f"{run.name} was trained on {own.data}, whose {split} images are not those of the "
                "first run: it is shown, but not compared."
            )
            return None
        stored = _stored(run, index) if split == "val" else None
        if stored is not None:
            return stored
        table = student_detections(run.folder, own, split, index)
        return Evaluated(table, score(index, table))
    except UserError as error:
        notes.append(f"{run.name} could not be evaluated: {error}")
        return None


def _stored(run: RunFiles, index: DatasetIndex) -> Evaluated | None:
    """Return the detections on val that the run has stored, if they have the AP that it states."""
    try:
        rows = json.loads((run.folder / PREDICTIONS).read_text(encoding="utf-8"))
        images = {each: position for position, each in enumerate(index.image_ids.tolist())}
        classes = {each: label for label, each in enumerate(index.category_ids)}
        for row in rows if images or classes else ():
            row["image_id"] = images.get(row["image_id"], row["image_id"])
            row["category_id"] = classes.get(row["category_id"], row["category_id"])
        table = to_table(rows)
        found = Evaluated(table, score(index, table))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
    stated = run.scores.get("AP")
    same = stated is not None and math.isclose(found.scores.AP, stated, abs_tol=1e-6)
    return found if same else None


def on_val(run: RunFiles, results: Results) -> tuple[DatasetIndex, Table]:
    """Return the val images of a run and its detections on them.

    Raises:
        UserError: Data or weights are gone.
    """
    if results.split == "val" and results.images is not None and run.name in results.runs:
        return results.images, results.runs[run.name].table
    index = open_images(run.config, "val")
    stored = _stored(run, index)
    if stored is not None:
        return index, stored.table
    return index, student_detections(run.folder, run.config, "val", index)


def _teacher(
    arms: Sequence[ReportArm], split: Split, index: DatasetIndex, notes: list[str]
) -> Evaluated | None:
    """Return the best of the teachers that know all classes."""
    found: list[Evaluated] = []
    for arm in arms:
        run = arm.runs[0]
        if run.code:
            notes.append(not_imported(run))
            continue
        for number, name in enumerate(run.config.distill.teachers if arm.taught else ()):
            try:
                teacher = load_teacher(name, torch.device("cpu"))
                where = (run.folder, run.config, split, index, f"teacher-{number}")
                table = teacher_detections(teacher, *where)
            except UserError as error:
                notes.append(f"The teacher of {arm.name} cannot be shown: {error}")
                continue
            if table is None:
                notes.append(f"The teacher of {arm.name} does not know all classes of the data.")
            else:
                size = teacher_size(teacher, run.config.train.image_size)
                found.append(Evaluated(table, score(index, table), size))
        if found:
            break  # arms of one report share their teacher; what differs is said among the settings
    return max(found, key=lambda each: each.scores.AP, default=None)


def not_imported(run: RunFiles) -> str:
    """Return that the code of a run is not imported, and how to allow it."""
    allow = " ".join(f"--allow-code {name}" for name in run.code)
    return f"{run.name} names code that importing would run; if you trust it:  {allow}"


def _compare(
    arms: Sequence[ReportArm],
    evaluated: Mapping[str, Evaluated],
    teacher: Evaluated | None,
    split: Split,
    index: DatasetIndex,
    draws: int,
    notes: list[str],
) -> tuple[ArmRow, ...]:
    results: dict[tuple[str, int], RunResult] = {}
    compared = [
        Arm(BASELINE if number == 0 else arm.name, _methods(arm), arm.runs[0].config)
        for number, arm in enumerate(arms)
    ]
    seeds = {run.config.train.seed for run in arms[0].runs}
    for arm, own in zip(compared, arms, strict=True):
        alone = len(own.runs) == len(arms[0].runs) == 1
        for run in own.runs:
            seed = run.config.train.seed
            if alone and seed not in seeds:
                notes.append(f"{own.name} has seed {seed}, the baseline {min(seeds)}.")
                seed = min(seeds)
            if run.name in evaluated:
                results[arm.name, seed] = _result(run, evaluated[run.name], split, index, draws)
    values = None if teacher is None else bootstrap_metric(index, teacher.table, draws=draws)
    return compare_arms(compared, results, values, images=len(index))


def _result(
    run: RunFiles, found: Evaluated, split: Split, index: DatasetIndex, draws: int
) -> RunResult:
    values: Values = bootstrap_values(run.folder, found.table, split, index, draws)
    per_class = {name: each.AP for name, each in found.scores.per_class.items()}
    known: RunCost | None = read_cost(run.folder)
    return RunResult(found.scores.AP, found.scores.AP50, values, known, per_class)


def _methods(arm: ReportArm) -> str:
    return "+".join(each.name for each in arm.runs[0].config.distill.methods) if arm.taught else ""


def _sizes(arms: Sequence[ReportArm]) -> dict[str, ModelSize]:
    """Return the sizes of the students that can be read, by arm."""
    known: dict[str, ModelSize] = {}
    sizes: dict[str, ModelSize] = {}
    for arm in arms:
        with contextlib.suppress(UserError, OSError):
            sizes[arm.name] = student_size(arm.runs[0], known)
    return sizes


def _unlike(arms: Sequence[ReportArm]) -> Iterator[str]:
    """Yield what differs between the arms beside their teaching."""
    first = arms[0].runs[0].config
    for arm in arms[1:]:
        names = [
            f"{each.key} {each.before} → {each.after}"
            for each in compare_configs(first, arm.runs[0].config, free=FREE)
        ]
        if names:
            yield (
                f"{arm.name} differs from {arms[0].name} in more than its teacher: "
                f"{'; '.join(names)}."
            )
    environments = [run.environment for arm in arms for run in arm.runs]
    if unlike := unlike_threads(
        int(each["threads"])
        for each in environments
        if each.get("cuda") == "not used" and each.get("threads", "").isdecimal()
    ):
        yield unlike


def mean_curve(arm: ReportArm) -> list[tuple[int, float]]:
    """Return epochs and the mean AP over the runs that were evaluated after each."""
    values: dict[int, list[float]] = {}
    for run in arm.runs:
        for epoch, ap in run.evaluated:
            values.setdefault(epoch, []).append(ap)
    return [(epoch, statistics.fmean(aps)) for epoch, aps in sorted(values.items())]
