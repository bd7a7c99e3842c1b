"""Train every arm of a comparison with every seed and compare them, as a generator of events.

The folder of a comparison holds one run folder per arm and seed. Its files decide whether a run is
finished, to be resumed or new, so the same call continues where an earlier one was stopped.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from tutelage.comparison.arms import BASELINE, Arm, ArmRun, ComparisonPlan, origins_of
from tutelage.comparison.cost import read_cost, write_cost
from tutelage.comparison.detections import (
    bootstrap_values,
    open_test_images,
    student_detections,
    teacher_detections,
)
from tutelage.comparison.process import crash_message, train_in_process
from tutelage.comparison.runtimes import common_runtime
from tutelage.comparison.stored import (
    FINISHED,
    FORMAT,
    RESULT,
    RESUMED,
    check_arms,
    check_same,
    identify,
    read_comparison,
    state_of,
)
from tutelage.comparison.table import ArmRow, RunResult, compare_arms, markdown
from tutelage.comparison.teaching import Teaching, teaching_of
from tutelage.comparison.threads import common_threads, unlike_threads
from tutelage.comparison.timing import read_timing, time_arms
from tutelage.data.opening import Split
from tutelage.errors import ConfigError, UserError
from tutelage.evaluation import score
from tutelage.evaluation.coco import Table
from tutelage.evaluation.device import choose_device
from tutelage.files import atomic_write_text
from tutelage.run.events import Event, Stage
from tutelage.run.folder import write_json
from tutelage.sanitise import json_values
from tutelage.teachers import Teacher, load_teacher
from tutelage.trackers import check_trackers

REPORT = "comparison.md"
DRAWS = 2000


class ComparisonPlanned(NamedTuple):
    """The runs of a comparison, each with its state: ``finished``, ``resumed`` or ``new``."""

    runs: tuple[tuple[ArmRun, str], ...]
    folder: str


class RunStarted(NamedTuple):
    """A run starts or is resumed; ``number`` of ``total``, counted from 1."""

    number: int
    total: int
    arm: str
    seed: int
    folder: str
    state: str


class RunFailed(NamedTuple):
    """A run failed; the comparison continues with the next one."""

    arm: str
    seed: int
    folder: str
    message: str


class ComparisonFinished(NamedTuple):
    """The result.

    Attributes:
        folder: Folder of the comparison.
        split: The split compared on.
        teachers: AP of each teacher that has all classes, by its name in the table.
        rows: The result of :func:`~tutelage.comparison.table.compare_arms`.
        notes: How to read the rows.
        failed: Messages by name of the run folder.
    """

    folder: str
    split: str
    teachers: dict[str, float]
    rows: tuple[ArmRow, ...]
    notes: tuple[str, ...]
    failed: dict[str, str]


ComparisonEvent = Event | ComparisonPlanned | RunStarted | RunFailed | ComparisonFinished


def run_comparison(
    comparison: ComparisonPlan,
    *,
    origins: Mapping[str, str] | None = None,
    command_line: str = "",
    dry_run: bool = False,
    draws: int = DRAWS,
    time: bool = False,
) -> Iterator[ComparisonEvent]:
    """Train the missing runs, evaluate and compare all, and store the result.

    Runs are trained in new processes: as always with :mod:`multiprocessing`, a script that calls
    this needs ``if __name__ == "__main__":``.

    Args:
        comparison: Arms, seeds and folder.
        origins: Where each setting came from.
        command_line: For the files.
        dry_run: Check everything and stop after :class:`ComparisonPlanned`.
        draws: Bootstrap draws.
        time: At the end, time the steps of all arms in turn.

    Yields:
        Events of this module and of each run.

    Raises:
        UserError: Data, teacher, layers or settings cannot be used, or differ from those of the
            folder. A run that fails raises nothing; it is in the result.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "A comparison runs in one process.",
            fix="Start it without torchrun, on one device.",
            code="C31",
        )
    execution = _Execution(comparison, origins or {}, command_line, draws)
    yield from execution.events(dry_run=dry_run, time=time)


class _Execution:
    """A comparison in progress: its data, its results so far."""

    def __init__(
        self, comparison: ComparisonPlan, origins: Mapping[str, str], command: str, draws: int
    ) -> None:
        self.comparison, self.config, self.origins = comparison, comparison.config, origins
        self.folder, self.command, self.draws = comparison.folder, command, draws
        self.results: dict[tuple[str, int], RunResult] = {}
        self.failed: dict[str, str] = {}
        self.untimed = ""  # why

    def events(self, *, dry_run: bool, time: bool) -> Iterator[ComparisonEvent]:
        check_trackers(self.config.run.track)
        stored = read_comparison(self.folder)
        self.timing = read_timing(stored)
        self.run_rows: dict[str, dict[str, Any]] = dict(stored.get("runs", {}))
        self.device = choose_device(self.config.train.device)
        yield Stage("opening data and teachers")
        self.split: Split
        self.split, self.index = open_test_images(self.config)
        teachers = [load_teacher(name, self.device) for name in self.config.distill.teachers]
        self.teacher_names = [teacher.names for teacher in teachers]
        self.identity = identify(self.config, self.split, self.index, teachers)
        check_same(self.comparison, stored, self.identity)
        states = [state_of(run) for run in self.comparison.runs()]
        runs = tuple(zip(self.comparison.runs(), states, strict=True))
        if any(state != FINISHED for state in states):
            yield Stage("checking every arm")
            check_arms(self.comparison, self.origins)
        yield ComparisonPlanned(runs, str(self.folder))
        if dry_run:
            return
        threads = common_threads(self.comparison, stored, self.device, self.index.names)
        self.settled = self.comparison
        if threads is not None:
            self.settled = self.comparison.with_threads(threads)
        self.threads = threads
        self.runtime = yield from common_runtime(self.settled, stored, self.origins)
        self.settled = self.settled.with_runtime(self.runtime)
        runs = tuple(zip(self.settled.runs(), states, strict=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        yield Stage(f"evaluating the teacher on {self.split}")
        tables = self._teacher_tables(teachers)
        del teachers
        for number, (run, state) in enumerate(runs, 1):
            place = (run.arm.name, run.seed, str(run.folder))
            yield RunStarted(number, len(runs), *place, state)
            yield from self._run(run, state)
            self._write()
        if time:
            yield from self._time()
        yield self._finish(tables)

    def _time(self) -> Iterator[ComparisonEvent]:
        """Time the steps of all arms; an error is told, and the result is that of the runs."""
        gc.collect()
        torch.cuda.empty_cache()
        comparison = self.settled._replace(arms=self._arms_with_results())
        try:
            self.timing = yield from time_arms(comparison, self.origins)
        except UserError as error:
            self.untimed = str(error)
        except Exception as error:
            self.untimed = crash_message(self.folder, error)

    def _arms_with_results(self) -> tuple[Arm, ...]:
        """Return the baseline, and the other arms of which at least one run has ended well."""
        known = {BASELINE, *(name for name, _ in self.results)}
        return tuple(arm for arm in self.settled.arms if arm.name in known)

    def _teacher_tables(self, teachers: Sequence[Teacher]) -> dict[str, Table]:
        """Return the detections of each teacher that has all classes, by its name."""
        tables: dict[str, Table] = {}
        for number, teacher in enumerate(teachers, 1):
            name = f"teacher {number}" if len(teachers) > 1 else "teacher"
            where = (self.folder, self.config, self.split, self.index, name.replace(" ", "-"))
            table = teacher_detections(teacher, *where)
            if table is not None:
                tables[name] = table
        return tables

    def _run(self, run: ArmRun, state: str) -> Iterator[ComparisonEvent]:
        """Train a run if it is not finished, and evaluate it; an error is recorded."""
        row = self.run_rows[run.folder.name] = {"arm": run.arm.name, "seed": run.seed}
        try:
            if state != FINISHED:
                gc.collect()
                torch.cuda.empty_cache()  # the run needs the memory of earlier evaluations
                yield from train_in_process(
                    run,
                    origins=origins_of(run.arm, self.origins),
                    resume=state == RESUMED,
                    command_line=self.command,
                )
            elif read_cost(run.folder) is None:  # stopped between its last save and this file
                write_cost(run.folder, self.device, finished=True, peak=None)
            yield Stage(f"evaluating {run.folder.name} on {self.split}")
            row |= {"state": FINISHED, **self._evaluate(run)}
            return
        except UserError as error:
            message = str(error)
        except Exception as error:
            message = crash_message(run.folder, error)
        self.failed[run.folder.name] = message
        row |= {"state": "failed", "message": message}
        yield RunFailed(run.arm.name, run.seed, str(run.folder), message)

    def _evaluate(self, run: ArmRun) -> dict[str, Any]:
        table = student_detections(run.folder, run.config, self.split, self.index)
        scores = score(self.index, table)
        values = bootstrap_values(run.folder, table, self.split, self.index, self.draws)
        cost = read_cost(run.folder)
        per_class = {name: each.AP for name, each in scores.per_class.items()}
        result = RunResult(scores.AP, scores.AP50, values, cost, per_class)
        self.results[run.arm.name, run.seed] = result
        found = {"AP": scores.AP, "AP50": scores.AP50, "per_class": per_class}
        return {**found, **(cost._asdict() if cost else {})}

    # --- the result ------------------------------------------------------------------------

    def _finish(self, tables: dict[str, Table]) -> ComparisonFinished:
        scores = {name: score(self.index, table) for name, table in tables.items()}
        teachers = {name: each.AP for name, each in scores.items()}
        values = None
        if teachers:  # the gap is that to the best teacher
            best = tables[max(teachers, key=lambda name: teachers[name])]
            values = bootstrap_values(self.folder, best, self.split, self.index, self.draws)
        arms = [arm.titled(self.index.names, self.teacher_names) for arm in self.comparison.arms]
        timings = self.timing.of(self._arms_with_results()) if self.timing else None
        rows = compare_arms(arms, self.results, values, images=len(self.index), timings=timings)
        costs = [(run.arm.name, read_cost(run.folder)) for run in self.comparison.runs()]
        teaching = tuple(teaching_of([(arm, cost) for arm, cost in costs if cost]))
        notes = tuple(self._notes(rows, teaching, bool(teachers)))
        teacher_rows = {name: {"AP": each.AP, "AP50": each.AP50} for name, each in scores.items()}
        self._write(teachers=teacher_rows, arms=rows, teaching=teaching, notes=notes)
        atomic_write_text(self.folder / REPORT, markdown(rows, teachers, notes))
        return ComparisonFinished(str(self.folder), self.split, teachers, rows, notes, self.failed)

    def _notes(
        self, rows: tuple[ArmRow, ...], teaching: tuple[Teaching, ...], has_teacher: bool
    ) -> Iterator[str]:
        chosen = " (no test split; val also chose each run's best epoch)"
        yield (
            f"{self.split} split, {len(self.index)} images{chosen * (self.split == 'val')}; "
            "ΔAP and its intervals in points (AP × 100)."
        )
        n = len(self.comparison.seeds)
        over_seeds = f"; beside them Student's t over the seeds (n = {n})" if n > 1 else ""
        yield (
            f"95 % intervals: {self.draws:,} draws of seeds, then images, the same for both arms"
            f"{over_seeds}."
        )
        memory = "GPU" if self.device.type == "cuda" else "process"
        threads = {result.cost.threads for result in self.results.values() if result.cost}
        same = len(threads) == 1 and self.device.type == "cpu"
        each = f", each with {_count(max(threads), 'CPU thread')}" if same else ""
        yield (
            f"The runs were trained one after another on the same machine{each}. Time is that of a "
            f"{self._timed(rows)}, with the checks and the weighing of the methods, without "
            f"evaluations; memory is the peak of the {memory}. Both are relative to the baseline."
        )
        yield from (each.in_words() for each in teaching)
        compared = [row for row in rows if row.difference]
        if len(compared) > 1:
            yield (
                f"{len(compared)} arms were compared with the baseline: the best of them is likely "
                "overestimated. Confirm it with other seeds."
            )
        if any(row.share < 1 for row in compared):
            yield "Arms with a share of the epochs are compared with the baseline with all epochs."
        several = len(self.config.distill.teachers) > 1
        if not has_teacher:
            who = "None of the teachers knows" if several else "The teacher does not know"
            yield f"{who} all classes of the data: no gap to close."
        elif several:
            yield "The gap is that to the best of the teachers that know all classes."
        if self.device.type == "cpu" and (unlike := unlike_threads(threads)):
            yield unlike
        if self.untimed:
            yield f"The steps could not be timed: {self.untimed}"
        for name, message in self.failed.items():
            yield f"Missing: {name}. {message}"

    def _timed(self, rows: tuple[ArmRow, ...]) -> str:
        """Return of what the table has the time."""
        if self.timing is None or all(row.later_ratio is None for row in rows):
            return (
                "run that finds its answers stored (where every epoch asks the teacher, as it was)"
            )
        return (
            "run that asks about each view once, in brackets of an epoch whose answers are stored: "
            f"median ratios of {self.timing.steps} steps, batches included, that all arms took in "
            "turn in one process"
        )

    def _write(self, **result: Any) -> None:
        """Write ``comparison.json``; runs of arms that are not in this call stay in it."""
        arms = [
            {"name": arm.name, "methods": arm.methods, "ratio": arm.ratio, "share": arm.share}
            for arm in self.comparison.arms
        ]
        content = {
            "format": FORMAT,
            "command": self.command,
            "settings": self.config.model_dump(mode="json"),
            **self.identity,
            "split": self.split,
            "images": len(self.index),
            "draws": self.draws,
            "threads": self.threads,
            "teacher_runtime": self.runtime,
            "timing": self.timing,
            "seeds": self.comparison.seeds,
            "asked": arms,
            "runs": self.run_rows,
            **result,
        }
        write_json(self.folder / RESULT, json_values(content))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
