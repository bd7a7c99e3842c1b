"""What a distilled step costs beside a plain one: all arms take their steps in turn in one process.

Runs that were trained one after another met a machine in different moods; steps in turn meet the
same one.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tutelage.comparison.arms import Arm, ComparisonPlan, origins_of
from tutelage.comparison.detections import open_images
from tutelage.config.schema import Config
from tutelage.data.sampler import Views
from tutelage.run.events import Event, Stage
from tutelage.run.kd_weights import batches_with_boxes
from tutelage.run.preflight.teacher_runtime import choose_runtimes
from tutelage.setup.build import RunParts, build_run
from tutelage.setup.views import taught_epochs, views_taught
from tutelage.teachers.stored import StoredTeachers
from tutelage.training.loop import BatchDone, fit, multi_scale

WARM_UP, STEPS = 3, 20
Times = dict[str, list[float]]


class ArmTiming(NamedTuple):
    """Median ratios of the steps of a set of methods to those of the baseline at the same batches.

    Attributes:
        asked: A step that asks the teacher.
        stored: One whose answers are stored; None: this arm asks in every step.
    """

    asked: float
    stored: float | None


class Timing(NamedTuple):
    """What was timed.

    Attributes:
        arms: By their methods.
        steps: Timed steps of each arm and kind.
        device: The device.
        threads: CPU threads of the networks.
    """

    arms: dict[str, ArmTiming]
    steps: int
    device: str
    threads: int

    def of(self, arms: Sequence[Arm]) -> dict[str, ArmTiming] | None:
        """Return the ratios of some arms by methods; None if not all of them were timed."""
        return self.arms if all(a.methods in self.arms for a in arms if a.methods) else None


def read_timing(stored: Mapping[str, Any]) -> Timing | None:
    """Return what ``comparison.json`` says of the time of steps."""
    timing = stored.get("timing")
    if not timing:
        return None
    return Timing(
        **{**timing, "arms": {name: ArmTiming(**a) for name, a in timing["arms"].items()}}
    )


def run_ratio(timing: ArmTiming, config: Config, epochs: int) -> float:
    """Return the time of the steps of a whole run that asks about each view once.

    Args:
        timing: The ratios of its steps.
        config: Its settings.
        epochs: Epochs of the baseline; the result is relative to these.
    """
    own, taught, views = config.train.epochs, taught_epochs(config), config.distill.views
    if timing.stored is None or isinstance(views, str):
        extra = taught * (timing.asked - 1) / config.distill.every
    else:
        asking = len(views_taught(config, Views(views)))
        extra = asking * (timing.asked - 1) + (taught - asking) * (timing.stored - 1)
    return (own + extra) / epochs


def time_arms(
    comparison: ComparisonPlan, origins: Mapping[str, str], steps: int = STEPS
) -> Generator[Event, None, Timing]:
    """Time the steps of the baseline and of each set of methods, batches included.

    Nothing is left behind: the answers are stored in a temporary folder.

    Args:
        comparison: The arms; those that differ in ratio or epochs alone are timed once.
        origins: Where each setting came from.
        steps: Timed steps of each arm and kind.

    Yields:
        What is being done.

    Raises:
        UserError: An arm cannot be built.
    """
    arms, config = {arm.methods: arm for arm in comparison.arms}, comparison.config
    epochs = epochs_of(steps, len(open_images(config, "train")), config.train.images)
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        # on the disk of the runs, which has room for what they store
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=comparison.folder))
        stack.callback(torch.set_num_threads, threads)
        if isinstance(config.train.threads, int):
            torch.set_num_threads(config.train.threads)
        runs: dict[str, RunParts] = {}
        for number, arm in enumerate(arms.values()):
            yield Stage(f"building {arm.name} to time its steps")
            runs[arm.methods] = parts = build_run(
                timed_config(arm.config, epochs, Path(folder) / str(number)),
                origins_of(arm, origins),
                stores=True,
                keep_threads=True,
                view_count=0 if arm.config.distill.views == "off" else epochs,
            )
            yield from choose_runtimes(parts, list(batches_with_boxes(parts, 1)))
        yield Stage(f"timing {steps} steps of each arm, in turn")
        asked, stored = step_times(runs, steps)
        ratios = {
            methods: ArmTiming(
                paired_ratio(asked[methods], asked[""]),
                None if asks_always(parts) else paired_ratio(stored[methods], stored[""]),
            )
            for methods, parts in runs.items()
            if methods
        }
        device = str(runs[""].accelerator.device)
        return Timing(ratios, steps, device, torch.get_num_threads())


def epochs_of(steps: int, images: int, batch: int) -> int:
    """Return the epochs that :func:`step_times` goes through."""
    return -(-(WARM_UP + steps) // -(-images // batch))


def timed_config(config: Config, epochs: int, folder: Path) -> Config:
    """Return the settings of a run in which no view recurs and all methods act in every step.

    Args:
        config: The settings of an arm.
        epochs: Number of epochs.
        folder: Of stores that no other run reads.
    """
    distill, train = config.distill, config.train
    always: dict[str, Any] = {"warmup_epochs": 0.0, "stop_epoch": None}
    methods = tuple(
        method.model_copy(
            update={**always, "weight": 1.0 if method.weight == "auto" else method.weight}
        )
        for method in distill.methods
    )
    changes: dict[str, Any] = {**always, "methods": methods, "every": 1}
    if distill.views != "off":
        changes["views"] = epochs
    if distill.store != "off":
        changes["store"] = str(folder)
    return config.model_copy(
        update={
            "distill": distill.model_copy(update=changes),
            "train": train.model_copy(update={"epochs": epochs}),
            "augment": config.augment.model_copy(update={"close_mosaic": 0}),
        }
    )


def asks_always(parts: RunParts) -> bool:
    """Whether a run asks a teacher about every batch, since not all that it needs is stored."""
    teachers = parts.distillation.teachers if parts.distillation else None
    views, online = parts.teaching.views, parts.teaching.formats.online
    has_memory = isinstance(teachers, StoredTeachers) and teachers.memories
    return views is None or bool(online) or not has_memory


def step_times(runs: Mapping[str, RunParts], steps: int) -> tuple[Times, Times]:
    """Return the seconds of the steps of some runs, which take them in turn.

    Args:
        runs: Runs of enough epochs (:func:`epochs_of`) in which no view recurs.
        steps: Number of timed steps; some to warm up come before.

    Returns:
        Seconds by run: first with the teachers asked, then the same steps with stored answers.
    """
    first, second = (in_turn({name: steps_of(p) for name, p in runs.items()}, steps) for _ in "12")
    return first, second


def in_turn(runs: Mapping[str, Iterator[float]], steps: int, warm_up: int = WARM_UP) -> Times:
    """Return what each run yields, taken in turn, without the first ``warm_up``."""
    times: Times = {name: [] for name in runs}
    for number in range(warm_up + steps):
        for name, each in runs.items():
            seconds = next(each)
            if number >= warm_up:
                times[name].append(seconds)
    return times


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median ratio of the times of two runs at the same batches."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def steps_of(
    parts: RunParts, clock: Callable[[], float] = time.perf_counter
) -> Generator[float, None, None]:
    """Train from the first step on; yield the seconds of each step, its batch included."""
    train, device = parts.config.train, parts.accelerator.device
    seeds = parts.schedule.seed, parts.config.distill.view_seed
    resize = multi_scale(train.image_size, parts.stride, *seeds) if train.multi_scale else None
    events = fit(
        parts.accelerator,
        parts.task,
        parts.supervision,
        parts.optimizer,
        parts.ema,
        parts.loader,
        parts.schedule,
        resize=resize,
    )
    start = clock()
    for event in events:
        if isinstance(event, BatchDone):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            yield clock() - start
            start = clock()
