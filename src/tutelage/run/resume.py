"""Checks before a run is resumed: is anything left to do, are settings, data, teachers the same?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.config.added_later import complete
from tutelage.config.diff import compare_configs
from tutelage.config.schema import Config
from tutelage.config.yaml_reader import load_yaml
from tutelage.errors import ConfigError, DataError, TeacherError, UserError
from tutelage.run.checkpoint import (
    RunCheckpoint,
    RunProgress,
    SplitIdentity,
    foreign_settings,
    load_checkpoint,
)
from tutelage.run.early_stopping import EarlyStopping
from tutelage.setup.build import RunParts
from tutelage.setup.distillation import AUTO, names_layers
from tutelage.teachers.teacher import identities, teacher_identity
from tutelage.training.schedule import Position


def load_unfinished(folder: str, config: Config) -> tuple[RunCheckpoint, Config]:
    """Return the checkpoint of a run folder, and its settings as the run began with them.

    Raises:
        WeightsError: ``last.pt`` cannot be read, or was written with other settings.
        ConfigError: The run has nothing left to do.
    """
    path = Path(folder) / "last.pt"
    checkpoint = load_checkpoint(path)
    before = Config.model_validate(complete(load_yaml(checkpoint.config)))
    before, config = (as_begun(each, checkpoint.weights) for each in (before, config))
    free = ("run", "preset", "train.threads")  # it goes on with the number that it was saved with
    changed = [each.key for each in compare_configs(before, config, free=free, movable=True)]
    if changed:
        raise foreign_settings(path, ", ".join(changed))
    if reason := why_finished(checkpoint, config):
        fix = f"To train on: --weights {folder}/best.safetensors --epochs 50"
        raise ConfigError(f"{folder} {reason}.", fix=fix, code="R16")
    return checkpoint, config


def as_begun(config: Config, methods: Iterable[str]) -> Config:
    """Return settings in which ``auto`` is what it stood for when a run began.

    Where layers are named, that was one method in earlier versions, and is two now.

    Args:
        config: All settings.
        methods: The methods of the run by name; with several teachers, ``fgd@1``, ``fgd@2``.
    """
    distill, names = config.distill, {name.partition("@")[0] for name in methods}
    found = [each for each in distill.methods if each.name == AUTO and names_layers(each, distill)]
    if not found or len(distill.methods) > 1 or len(names) != 1:
        return config
    method = found[0].model_copy(update={"name": names.pop()})
    distill = distill.model_copy(update={"methods": (method,)})
    return config.model_copy(update={"distill": distill})


def why_finished(checkpoint: RunCheckpoint, config: Config) -> str:
    """Return why a run has nothing left to do; empty if it has."""
    done, epochs, patience = checkpoint.position[0], config.train.epochs, config.train.patience
    if done >= epochs:
        return f"is already finished ({done}/{epochs} epochs)"
    if EarlyStopping(patience, checkpoint.progress).exhausted(done - 1):
        return f"stopped early after {done} of {epochs} epochs: no better AP for {patience}"
    return ""


def check_teachers(
    progress: RunProgress, records: Sequence[Mapping[str, Any]], folder: str
) -> None:
    """Check that the teachers are those of the checkpoint.

    Raises:
        TeacherError: They are not.
    """
    for record, before in zip(records, progress.teachers, strict=True):
        now = teacher_identity(record)
        if before not in identities(record):
            raise TeacherError(
                f"The teacher {record['source']} is not the one with which {folder} began.",
                where=f"sha256 {now[:12]}…, before {before[:12]}…",
                fix=f"Put that file back, or start anew: --weights {folder}/best.safetensors",
                code="T31",
            )


def data_identity(parts: RunParts) -> dict[Any, SplitIdentity]:
    """Return the identity of images and boxes by split."""
    indices = {"train": parts.train, "val": parts.val, "distill.images": parts.unlabelled}
    return {
        name: SplitIdentity(images=len(index), boxes=len(index.boxes), sha256=index.fingerprint)
        for name, index in indices.items()
        if index is not None
    }


def check_data(progress: RunProgress, parts: RunParts, folder: str) -> None:
    """Check that images and boxes are those of the checkpoint; their folder may differ.

    Raises:
        DataError: They are not.
    """
    now = data_identity(parts)
    changed = [
        f"{name}: {_describe(now.get(name))}, before {_describe(before)}"
        for name, before in (progress.data or {}).items()
        if now.get(name) != before
    ]
    if changed:
        raise DataError(
            f"The data are not those with which {folder} began: {'; '.join(changed)}.",
            where=str(parts.config.data),
            fix=f"Put them back as they were, or start anew:  --weights {folder}/best.safetensors",
            code="D33",
        )


def _describe(split: SplitIdentity | None) -> str:
    if split is None:
        return "none"
    return f"{split.images} images with {split.boxes} boxes ({split.sha256[:8]}…)"


@contextmanager
def suggest_moved_files(config: Config, resume: str | None) -> Iterator[None]:
    """Add to the error of a missing file how to name its new place.

    Args:
        config: The settings of the run.
        resume: The folder of a resumed run; None for a new run, whose errors stay as they are.
    """
    try:
        yield
    except UserError as error:
        files = [("--data", config.data)]
        files += [("--teacher-weights", teacher) for teacher in config.distill.teachers]
        flags = [
            flag
            for flag, path in files
            if path and path in error.what and ":" not in path and not Path(path).exists()
        ]
        if resume is None or not flags:
            raise
        again = f"If it has moved:  tutelage train --resume {resume} {flags[0]} …"
        fix = "\n".join(text for text in (error.fix, again) if text)
        raise type(error)(error.what, where=error.where, fix=fix, code=error.code) from error


def describe_resume(progress: RunProgress, position: Position, processes: int) -> Iterator[str]:
    """Yield where a run continues, and whether it stays the same to the last bit."""
    yield f"Goes on after {position.in_words()}."
    before = progress.processes
    if before != processes:
        yield (
            f"It was saved by {before} process{'es' * (before > 1)} and goes on with {processes}: "
            "on the same images, but not to the same bits."
        )
