"""A comparison on the built-in data: a small student with and without a teacher, in minutes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.run import ComparisonEvent, ComparisonFinished, run_comparison
from tutelage.comparison.stored import read_comparison
from tutelage.config.load import ResolvedConfig, load_config
from tutelage.errors import TrainingError, WeightsError
from tutelage.evaluation import Difference, describe_difference, latency
from tutelage.models.build import load
from tutelage.models.cost import cost
from tutelage.models.weight_file import weight_file
from tutelage.run.events import Event, Finished
from tutelage.run.folder import make_run_folder
from tutelage.run.run import run_training
from tutelage.weights.store import load_header

DATA, SIZE = "digits", 128
STUDENT, TEACHER = "yolov7-tiny@0.25", "yolov7-tiny@0.45"
EPOCHS, TEACHER_EPOCHS = 16, 60
HEAD_INPUTS = ["74", "75", "76"]  # wider than p3, p4, p5: a narrow student has more to learn with
SHIPPED = "demo_teacher.safetensors"
DRAWS = 1000  # of the bootstrap
COMMAND = "tutelage demo"


class DemoRow(NamedTuple):
    """A detector of the demo: scores on the test split; size and speed fused, one image a batch."""

    title: str
    model: str
    AP: float
    AP50: float
    parameters: int
    gflops: float
    milliseconds: float


class DemoResult(NamedTuple):
    """The end of the demo.

    Attributes:
        arms: Teacher, baseline, distilled.
        difference: Distilled − baseline in AP with its interval over the test images.
        verdict: The same in words.
        gap_closed: Share of the gap between baseline and teacher that distillation closed.
        starts: The initial weights of both students.
        seconds: Duration of the whole demo.
        folder: Folder of the comparison.
    """

    arms: tuple[DemoRow, ...]
    difference: Difference
    verdict: str
    gap_closed: float | None
    starts: str
    seconds: float
    folder: str


def shipped_teacher() -> Path:
    """Return the path of the teacher in the package.

    Raises:
        WeightsError: It is missing from this installation.
    """
    path = Path(str(files("tutelage") / SHIPPED))
    if not path.exists():
        raise WeightsError(
            "This installation holds no demo teacher.",
            fix="tutelage demo --train-teacher",
            code="W10",
        )
    return path


def settings(
    name: str,
    *,
    project: str,
    arch: str = STUDENT,
    epochs: int = EPOCHS,
    seed: int = 0,
    teacher: str | None = None,
) -> ResolvedConfig:
    """Return the settings of a training run of the demo.

    Digits must not be flipped.
    """
    values: dict[str, Any] = {
        "data": DATA,
        "preset": "small",
        "model.arch": arch,
        "train.epochs": epochs,
        "train.batch": 8,
        "train.nominal_batch": 8,
        "train.image_size": SIZE,
        "train.seed": seed,
        "train.cache_images": "ram",
        "train.eval_every": 4,
        "train.patience": 0,
        "augment.fliplr": 0.0,
        "run.project": project,
        "run.name": name,
    }
    if teacher is not None:
        values["distill.teacher"] = teacher
        values["distill.methods"] = ["bckd"]
        values["distill.student_kd_layers"] = values["distill.teacher_kd_layers"] = HEAD_INPUTS
    return load_config(flags={key: (value, "demo") for key, value in values.items()})


def run_demo(
    *, project: str = "runs", epochs: int = EPOCHS, seed: int = 0, train_teacher: bool = False
) -> Iterator[ComparisonEvent | DemoResult]:
    """Compare the student with and without the teacher on the test split.

    Args:
        project: Parent of the comparison's folder.
        epochs: Budget of each student.
        seed: Seed of both students.
        train_teacher: Train the teacher first instead of using the one in the package.

    Yields:
        Events of the teacher's training and of the comparison, then the :class:`DemoResult`.

    Raises:
        TrainingError: One of the students could not be trained.
    """
    started = time.monotonic()
    teacher = (yield from _train_teacher(project)) if train_teacher else str(shipped_teacher())
    folder = make_run_folder(Path(project), "demo", "")
    resolved = settings(folder.name, project=project, epochs=epochs, teacher=teacher)
    comparison = plan_comparison(resolved.config, seed_list=str(seed))
    for event in run_comparison(
        comparison, origins=resolved.origins, command_line=COMMAND, draws=DRAWS
    ):
        if not isinstance(event, ComparisonFinished):
            yield event
        elif event.failed:
            raise TrainingError("\n".join(event.failed.values()), where=str(folder))
        else:
            students = [str(run.folder) for run in comparison.runs()]
            yield _result(event, teacher, *students, seconds=time.monotonic() - started)


def _train_teacher(project: str) -> Generator[Event, None, str]:
    """Train the teacher, pass its events on and return its run folder."""
    folder = ""
    run = settings("demo-teacher", project=project, arch=TEACHER, epochs=TEACHER_EPOCHS)
    for event in run_training(run.config, origins=run.origins, command_line=COMMAND):
        if isinstance(event, Finished):
            folder = event.folder
        yield event
    return folder


def _result(
    finished: ComparisonFinished, teacher: str, baseline: str, distilled: str, *, seconds: float
) -> DemoResult:
    base, row = finished.rows
    difference = cast("Difference", row.difference)  # both runs are finished
    scores = read_comparison(Path(finished.folder))["teachers"]["teacher"]
    return DemoResult(
        arms=(
            _measured("teacher", teacher, scores["AP"], scores["AP50"]),
            _measured("baseline", baseline, base.AP, base.AP50),
            _measured("distilled", distilled, row.AP, row.AP50),
        ),
        difference=difference,
        verdict=describe_difference(difference),
        gap_closed=row.gap_closed[0] if row.gap_closed else None,
        starts=starts(_start(baseline), _start(distilled)),
        seconds=seconds,
        folder=finished.folder,
    )


def _measured(title: str, model: str, ap: float, ap50: float) -> DemoRow:
    fused = load(model).fused()
    size, speed = cost(fused, SIZE), latency(fused, SIZE)
    return DemoRow(title, model, ap, ap50, size.parameters, size.gflops, speed.p50_ms)


def _start(model: str) -> str:
    return str(load_header(weight_file(model))["training"]["start"])


def starts(baseline: str, distilled: str) -> str:
    """Return a sentence with the initial weights of both students."""
    first, second = (
        start if start.startswith("from ") else f"from {start}" for start in (baseline, distilled)
    )
    if first == second:
        return f"Both students started {first}."
    return (
        f"The baseline started {first}, the distilled student {second}: "
        "the difference is not due to the teacher alone."
    )
