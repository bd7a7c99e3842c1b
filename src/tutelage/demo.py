"""The main job on the built-in data: a small student, taught and untaught, in minutes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tutelage.compare.side_by_side import Arm, Outcome, Stage, concluded, measured
from tutelage.config.load import ResolvedConfig, load_config
from tutelage.errors import WeightsError
from tutelage.run.events import Event, Finished
from tutelage.run.folder import write_json
from tutelage.run.run import run_training

DATA, SIZE = "digits", 128
STUDENT, TEACHER = "yolov7-tiny@0.25", "yolov7-tiny@0.45"
EPOCHS, TEACHER_EPOCHS = 16, 60
HEAD_INPUTS = ["74", "75", "76"]  # wider than p3, p4, p5: a narrow student has more to learn with
SHIPPED = "demo_teacher.safetensors"


def shipped_teacher() -> Path:
    """Return the teacher inside the package; ``tutelage demo --train-teacher`` makes it anew."""
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
    """Return the settings of one arm; arms differ in name, teacher, size and budget alone.

    Digits must not be flipped, and scenes of 128 px need no mosaic. The gains undo YOLOv7's own
    scaling by image size and number of classes, which is made for 640 px and 80 classes.
    """
    values: dict[str, Any] = {
        "data": DATA,
        "preset": "v7-tiny",
        "model.arch": arch,
        "train.epochs": epochs,
        "train.batch": 8,
        "train.nominal_batch": 8,
        "train.image_size": SIZE,
        "train.seed": seed,
        "train.cache_images": "ram",
        "train.eval_every": 4,
        "train.patience": 0,
        "loss.cls": 4.0,
        "loss.obj": 16.0,
        "augment.mosaic": 0.0,
        "augment.mixup": 0.0,
        "augment.fliplr": 0.0,
        "augment.scale": 0.3,
        "run.project": project,
        "run.name": name,
    }
    if teacher is not None:
        values["distill.teacher"] = teacher
        values["distill.student_kd_layers"] = values["distill.teacher_kd_layers"] = HEAD_INPUTS
    return load_config(flags={key: (value, "demo") for key, value in values.items()})


def run_demo(
    *, project: str = "runs", epochs: int = EPOCHS, seed: int = 0, train_teacher: bool = False
) -> Iterator[Event | Stage | Outcome]:
    """Train the student without and with the teacher and compare all three on the test split.

    Args:
        project: Parent of the run folders.
        epochs: Budget of each student.
        seed: Seed of both students.
        train_teacher: Train the teacher first instead of using the one in the package.

    Yields:
        Stages, the events of each run, and the :class:`~tutelage.compare.side_by_side.Outcome`.
    """
    started = time.monotonic()
    if train_teacher:
        yield Stage(f"teacher: {TEACHER}, {TEACHER_EPOCHS} epochs")
        taught = settings("demo-teacher", project=project, arch=TEACHER, epochs=TEACHER_EPOCHS)
        teacher = yield from _folder(taught)
    else:
        teacher = str(shipped_teacher())
    arms: list[Arm] = []
    folders: list[str] = []
    for title, who in (("baseline", None), ("distilled", teacher)):
        yield Stage(
            f"{title}: {STUDENT}, {epochs} epochs, seed {seed}"
            + (", with the teacher" if who else "")
        )
        arm = settings(f"demo-{title}", project=project, epochs=epochs, seed=seed, teacher=who)
        folders.append((yield from _folder(arm)))
    yield Stage("evaluation of all three on the untouched test split")
    for title, model in zip(("teacher", "baseline", "distilled"), (teacher, *folders), strict=True):
        arms.append(measured(title, model, data=DATA, split="test", image_size=SIZE))
    outcome = concluded(*arms, data=DATA, split="test")
    write_json(Path(folders[-1]) / "comparison.json", summary(outcome, time.monotonic() - started))
    yield outcome


def summary(outcome: Outcome, seconds: float) -> dict[str, Any]:
    """Return the outcome as plain values."""
    return {
        "arms": [
            {
                "title": arm.title,
                "model": arm.model,
                "AP": arm.scores.AP,
                "AP50": arm.scores.AP50,
                "parameters": arm.parameters,
                "gflops": arm.gflops,
                "milliseconds": arm.milliseconds,
            }
            for arm in outcome.arms
        ],
        "difference": outcome.difference._asdict(),
        "verdict": outcome.verdict,
        "gap_closed": outcome.gap_closed,
        "starts": outcome.starts,
        "seconds": seconds,
    }


def _folder(arm: ResolvedConfig) -> Generator[Event, None, str]:
    """Train an arm, pass its events on and return its run folder."""
    folder = ""
    for event in run_training(arm.config, origins=arm.origins, command_line="tutelage demo"):
        if isinstance(event, Finished):
            folder = event.folder
        yield event
    return folder
