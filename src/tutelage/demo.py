"""The main job on the built-in data: a small student, taught and untaught, in minutes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tutelage.config.schema import Config
from tutelage.errors import WeightsError
from tutelage.train.comparison import Arm, Outcome, Stage, concluded, measured
from tutelage.train.events import Event, Finished
from tutelage.train.folder import write_json
from tutelage.train.run import run_training

DATA, SIZE = "digits", 128
STUDENT, TEACHER = "yolov7-tiny@0.25", "yolov7-tiny@0.45"
EPOCHS, TEACHER_EPOCHS = 30, 120
SHIPPED = "demo_teacher.safetensors"


def shipped_teacher() -> Path:
    """Return the teacher inside the package; ``tutelage demo --train-teacher`` makes it anew."""
    path = Path(str(files("tutelage") / SHIPPED))
    if not path.exists():
        raise WeightsError(
            "This installation holds no demo teacher.", fix="tutelage demo --train-teacher"
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
) -> Config:
    """Return the settings of one arm; arms differ in name and teacher alone.

    Digits must not be flipped, and scenes of 128 px need no mosaic.
    """
    return Config.model_validate(
        {
            "data": DATA,
            "preset": "v7-tiny",
            "model": {"arch": arch},
            "train": {
                "epochs": epochs,
                "batch": 16,
                "image_size": SIZE,
                "seed": seed,
                "cache_images": "ram",
                "eval_every": 5,
                "patience": 0,
            },
            "optim": {"lr": 0.02, "lrf": 0.05},
            "augment": {
                "mosaic": 0.0,
                "fliplr": 0.0,
                "translate": 0.1,
                "scale": 0.3,
                "hsv_h": 0.05,
            },
            "distill": {"teacher": teacher},
            "run": {"project": project, "name": name},
        }
    )


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
        Stages, the events of each run, and the :class:`~tutelage.train.comparison.Outcome`.
    """
    started = time.monotonic()
    if train_teacher:
        yield Stage(f"teacher: {TEACHER}, {TEACHER_EPOCHS} epochs")
        taught = settings("demo-teacher", project=project, arch=TEACHER, epochs=TEACHER_EPOCHS)
        teacher = yield from _folder(run_training(taught, command_line="tutelage demo"))
    else:
        teacher = str(shipped_teacher())
    arms: list[Arm] = []
    folders: list[str] = []
    for title, who in (("baseline", None), ("distilled", teacher)):
        yield Stage(
            f"{title}: {STUDENT}, {epochs} epochs, seed {seed}"
            + (", with the teacher" if who else "")
        )
        config = settings(f"demo-{title}", project=project, epochs=epochs, seed=seed, teacher=who)
        folders.append((yield from _folder(run_training(config, command_line="tutelage demo"))))
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
        "seconds": seconds,
    }


def _folder(events: Iterator[Event]) -> Generator[Event, None, str]:
    """Pass events on and return the run folder that the last one names."""
    folder = ""
    for event in events:
        if isinstance(event, Finished):
            folder = event.folder
        yield event
    return folder
