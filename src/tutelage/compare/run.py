"""Train every arm of a comparison with every seed, and say what came out. A generator of events.

The folder of a comparison holds one run folder per arm and seed. What a run folder contains says
whether its run is finished, is to be resumed, or is to begin; so the same call goes on where an
earlier one was stopped.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.compare.arms import ArmRun, Comparison, origins_of
from tutelage.compare.cost import peak_mib, read_cost, reset_peak, write_cost
from tutelage.compare.detections import (
    open_test_images,
    resampled_once,
    student_detections,
    teacher_detections,
)
from tutelage.compare.stored import (
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
from tutelage.compare.table import ArmRow, RunResult, judge, markdown
from tutelage.data.open_data import Split
from tutelage.errors import ConfigError, UserError
from tutelage.evaluation import score
from tutelage.evaluation.coco import Table
from tutelage.evaluation.device import choose_device
from tutelage.run.events import Event
from tutelage.run.folder import write_json
from tutelage.run.run import run_training
from tutelage.sanitise import json_values
from tutelage.teachers import Teacher, load_teacher
from tutelage.weights.store import atomic_write_text

REPORT = "comparison.md"
DRAWS = 2000


class ComparisonPlanned(NamedTuple):
    """What a comparison will do: its runs, each with ``finished``, ``resumed`` or ``new``."""

    runs: tuple[tuple[ArmRun, str], ...]
    folder: str


class RunStarted(NamedTuple):
    """A run begins or goes on; ``number`` of ``total``, counted from 1."""

    number: int
    total: int
    arm: str
    seed: int
    folder: str
    state: str


class RunFailed(NamedTuple):
    """A run had to stop; the others go on."""

    arm: str
    seed: int
    folder: str
    message: str


class ComparisonFinished(NamedTuple):
    """The end.

    Attributes:
        folder: Where everything is.
        split: The images compared on.
        teachers: AP of each teacher that knows all classes, by what it is called in the table.
        rows: What :func:`~tutelage.compare.table.judge` says.
        notes: What to keep in mind.
        failed: Messages by run folder's name.
    """

    folder: str
    split: str
    teachers: dict[str, float]
    rows: tuple[ArmRow, ...]
    notes: tuple[str, ...]
    failed: dict[str, str]


ComparisonEvent = Event | ComparisonPlanned | RunStarted | RunFailed | ComparisonFinished


def run_comparison(
    comparison: Comparison,
    *,
    origins: Mapping[str, str] | None = None,
    command_line: str = "",
    dry_run: bool = False,
    draws: int = DRAWS,
) -> Iterator[ComparisonEvent]:
    """Train what is not yet trained, evaluate, compare, and store the result.

    Args:
        comparison: Arms, seeds and folder.
        origins: Where each setting came from.
        command_line: For the files.
        dry_run: Check everything and tell what would be done.
        draws: Bootstrap draws.

    Yields:
        What happens: events of this module and of each run.

    Raises:
        UserError: Data, teacher, layers or settings cannot be used, or contradict what the folder
            holds. A run that fails raises nothing; it is in the result.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "A comparison runs in one process.",
            fix="Start it without torchrun, on one device.",
            code="C31",
        )
    yield from _Comparing(comparison, origins or {}, command_line, draws).events(dry_run)


class _Comparing:
    """A comparison in progress: its data, its teachers, its results so far."""

    def __init__(
        self, comparison: Comparison, origins: Mapping[str, str], command: str, draws: int
    ) -> None:
        self.comparison, self.config, self.origins = comparison, comparison.config, origins
        self.folder, self.command, self.draws = comparison.folder, command, draws
        self.stored = read_comparison(self.folder)
        self.results: dict[tuple[str, int], RunResult] = {}
        self.failed: dict[str, str] = {}
        self.cells: dict[str, dict[str, Any]] = dict(self.stored.get("runs", {}))

    def events(self, dry_run: bool) -> Iterator[ComparisonEvent]:
        self.device = choose_device(self.config.train.device)
        self.split: Split
        self.split, self.index = open_test_images(self.config)
        sources = self.config.distill.teachers
        teachers = [load_teacher(source, self.device) for source in sources]
        self.identity = identify(self.config, self.split, self.index, teachers)
        check_same(self.comparison, self.stored, self.identity)
        runs = tuple((run, state_of(run)) for run in self.comparison.runs())
        if any(state != FINISHED for _, state in runs):
            check_arms(self.comparison, self.origins)
        yield ComparisonPlanned(runs, str(self.folder))
        if dry_run:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        tables = self._detected(teachers)
        del teachers
        for number, (run, state) in enumerate(runs, 1):
            of, who = len(runs), run.arm.name
            yield RunStarted(number, of, who, run.seed, str(run.folder), state)
            yield from self._run(run, state)
            self._write()
        yield self._concluded(tables)

    def _detected(self, teachers: Sequence[Teacher]) -> dict[str, Table]:
        """Return what each teacher that knows all classes detects, by its name in the table."""
        found: dict[str, Table] = {}
        for number, teacher in enumerate(teachers, 1):
            mark = f"-{number}" if len(teachers) > 1 else ""
            where = (self.folder, self.config, self.split, self.index, f"teacher{mark}")
            table = teacher_detections(teacher, *where)
            if table is not None:
                found["teacher" + (mark and f" {number}")] = table
        return found

    def _run(self, run: ArmRun, state: str) -> Iterator[ComparisonEvent]:
        """Train a run if need be, and evaluate it; what goes wrong is kept."""
        message = ""
        try:
            if state != FINISHED:
                yield from self._train(run, state)
            elif read_cost(run.folder) is None:  # stopped between its last save and this file
                write_cost(run.folder, self.device, finished=True, peak=None)
            self._evaluate(run)
        except UserError as error:
            message = str(error)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            run.folder.mkdir(parents=True, exist_ok=True)
            atomic_write_text(run.folder / "crash.txt", traceback.format_exc())
        if message:
            self.failed[run.folder.name] = message
            self._note(run, state="failed", message=message)
            yield RunFailed(run.arm.name, run.seed, str(run.folder), message)

    def _train(self, run: ArmRun, state: str) -> Iterator[Event]:
        measurable, finished = reset_peak(self.device), False
        try:
            yield from run_training(
                run.config,
                origins=origins_of(run.arm, self.origins),
                resume=str(run.folder) if state == RESUMED else None,
                command_line=self.command,
            )
            finished = True
        finally:
            if run.folder.exists():
                peak = peak_mib(self.device) if measurable else None
                write_cost(run.folder, self.device, finished=finished, peak=peak)

    def _evaluate(self, run: ArmRun) -> None:
        table = student_detections(run.folder, run.config, self.split, self.index)
        scores = score(self.index, table)
        values = resampled_once(run.folder, table, self.split, self.index, self.draws)
        result = RunResult(scores.AP, scores.AP50, values, read_cost(run.folder))
        self.results[run.arm.name, run.seed] = result
        cost = result.cost._asdict() if result.cost else {}
        self._note(run, state=FINISHED, AP=result.AP, AP50=result.AP50, **cost)

    def _note(self, run: ArmRun, **values: Any) -> None:
        self.cells[run.folder.name] = {"arm": run.arm.name, "seed": run.seed, **values}

    # --- the result ------------------------------------------------------------------------

    def _concluded(self, tables: dict[str, Table]) -> ComparisonFinished:
        scores = {name: score(self.index, table) for name, table in tables.items()}
        teachers = {name: found.AP for name, found in scores.items()}
        values = None
        if teachers:  # the gap is that to the best of them
            best = tables[max(teachers, key=lambda name: teachers[name])]
            values = resampled_once(self.folder, best, self.split, self.index, self.draws)
        rows = judge(self.comparison.arms, self.results, values, images=len(self.index))
        notes = tuple(self._notes(rows, teachers))
        self._write(
            teachers={name: {"AP": s.AP, "AP50": s.AP50} for name, s in scores.items()},
            arms=rows,
            notes=notes,
        )
        atomic_write_text(self.folder / REPORT, markdown(rows, teachers, notes))
        return ComparisonFinished(str(self.folder), self.split, teachers, rows, notes, self.failed)

    def _notes(self, rows: tuple[ArmRow, ...], teachers: Mapping[str, float]) -> Iterator[str]:
        chosen = " (no test split; val also chose each run's best epoch)"
        yield (
            f"{self.split} split, {len(self.index)} images{chosen * (self.split == 'val')}; "
            "AP, ΔAP and intervals in points."
        )
        n = len(self.comparison.seeds)
        over_seeds = f"; beside them Student's t over the seeds (n = {n})" if n > 1 else ""
        yield (
            f"95 % intervals: {self.draws:,} draws of seeds, then images, the same for both arms"
            f"{over_seeds}."
        )
        yield (
            "The runs followed one another on the same machine. Time is training alone, memory the "
            f"peak of the {'GPU' if self.device.type == 'cuda' else 'process'}; both relative to "
            "the baseline."
        )
        judged = [row for row in rows if row.difference]
        if len(judged) > 1:
            yield (
                f"{len(judged)} arms were judged, each by itself: the best of them looks better "
                "than it is. Confirm it with other seeds."
            )
        if any(row.share < 1 for row in judged):
            yield "Arms with a share of the epochs are judged against the baseline with all."
        several = len(self.config.distill.teachers) > 1
        if not teachers:
            who = "None of the teachers knows" if several else "The teacher does not know"
            yield f"{who} all classes of the data: no gap to close."
        elif several:
            yield "The gap is that to the best of the teachers that know all classes."
        threads = {result.cost.threads for result in self.results.values() if result.cost}
        if len(threads) > 1 and self.device.type == "cpu":
            yield (
                f"The runs had different numbers of CPU threads ({min(threads)} to {max(threads)}):"
                " compare their times with care, or set train.threads."
            )
        for name, message in self.failed.items():
            yield f"Missing: {name}. {message}"

    def _write(self, **concluded: Any) -> None:
        """Write ``comparison.json``; runs of arms that are not asked for now stay in it."""
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
            "seeds": self.comparison.seeds,
            "asked": arms,
            "runs": self.cells,
            **concluded,
        }
        write_json(self.folder / RESULT, json_values(content))
