"""Whether a run can go on: something is left to do, and its teachers are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.config.diff import differing
from tutelage.config.schema import Config
from tutelage.config.yaml_reader import load_yaml
from tutelage.errors import ConfigError, DataError, TeacherError, UserError, WeightsError
from tutelage.run.observers import EarlyStopping
from tutelage.setup.build import RunParts
from tutelage.train.schedule import Position


def nothing_left(saved: Mapping[str, Any], config: Config) -> str:
    """Return why a run has nothing left to do, or an empty text.

    Args:
        saved: Its ``last.pt``.
        config: Its settings.
    """
    done, epochs, patience = saved["position"][0], config.train.epochs, config.train.patience
    best = EarlyStopping(patience)
    best.epoch = saved["progress"]["best_epoch"]
    if done >= epochs:
        return f"is already finished ({done}/{epochs} epochs)"
    if best.exhausted(done - 1):
        return f"stopped early after {done} of {epochs} epochs: no better AP for {patience}"
    return ""


def check_unfinished(saved: dict[str, Any], config: Config, folder: str) -> None:
    """Refuse to go on with a run that has nothing left to do."""
    why = nothing_left(saved, config)
    if why:
        fix = f"To train on: --weights {folder}/best.safetensors --epochs 50"
        raise ConfigError(f"{folder} {why}.", fix=fix, code="R16")


def check_settings(saved: Mapping[str, Any], config: Config, path: Path) -> None:
    """Refuse a ``last.pt`` that was written with other settings: two runs used one folder.

    Raises:
        WeightsError: It was.
    """
    before = Config.model_validate(load_yaml(saved["config"]))
    other = [each.key for each in differing(before, config, free=("run", "preset"), movable=True)]
    if other:
        raise WeightsError(
            f"{path} does not fit the config.yaml beside it ({', '.join(other)}): "
            "they are of different runs.",
            fix=f"Start a new run from its weights: --weights {path.with_name('best.safetensors')}",
            code="W25",
        )


def records(parts: RunParts) -> tuple[dict[str, Any], ...]:
    """Return what is known of each teacher."""
    return parts.distillation.records if parts.distillation else ()


def identity(record: Mapping[str, Any]) -> str:
    """Return what tells a teacher from another: the hash of its file, or its name elsewhere."""
    return str(record.get("sha256", record["source"]))


def check_teachers(
    progress: Mapping[str, Any], records: Sequence[Mapping[str, Any]], folder: str
) -> None:
    """Refuse to go on with other teachers than before."""
    for record, before in zip(records, progress["teachers"], strict=True):
        if identity(record) != before:
            raise TeacherError(
                f"The teacher {record['source']} is not the one with which {folder} began.",
                where=f"sha256 {identity(record)[:12]}…, before {before[:12]}…",
                fix=f"Put that file back, or start anew: --weights {folder}/best.safetensors",
                code="T31",
            )


def data_of(parts: RunParts) -> dict[str, dict[str, Any]]:
    """Return what tells the images and boxes of a run from others, by split."""
    indices = {"train": parts.train, "val": parts.val, "distill.images": parts.unlabelled}
    return {
        name: {"images": len(index), "boxes": len(index.boxes), "sha256": index.fingerprint}
        for name, index in indices.items()
        if index is not None
    }


def check_data(progress: Mapping[str, Any], parts: RunParts, folder: str) -> None:
    """Refuse to go on with other images or boxes than before; they may lie elsewhere."""
    began = progress.get("data")
    if began is None:  # runs of the first versions do not say
        return
    now = data_of(parts)
    other = [
        f"{name}: {_counted(now.get(name))}, before {_counted(before)}"
        for name, before in began.items()
        if now.get(name) != before
    ]
    if other:
        raise DataError(
            f"The data are not those with which {folder} began: {'; '.join(other)}.",
            where=str(parts.config.data),
            fix=f"Put them back as they were, or start anew:  --weights {folder}/best.safetensors",
            code="D33",
        )


def _counted(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "none"
    return f"{found['images']} images with {found['boxes']} boxes ({found['sha256'][:8]}…)"


def goes_on(progress: Mapping[str, Any], at: Position, parts: RunParts) -> Iterator[str]:
    """Say where a run goes on, and whether to the same bits."""
    yield f"Goes on after {at.in_words()}."
    before, now = progress.get("processes", 1), parts.accelerator.num_processes
    if before != now:
        yield (
            f"It was saved by {before} process{'es' * (before > 1)} and goes on with {now}: on the "
            "same images, but not to the same bits."
        )


@contextmanager
def moved(config: Config, resume: str | None) -> Iterator[None]:
    """Say, where a run that goes on lacks a file, how to name its new place.

    Args:
        config: Its settings.
        resume: Its folder; None: a run that begins.
    """
    try:
        yield
    except UserError as error:
        given = [("--data", config.data)]
        given += [("--teacher-weights", teacher) for teacher in config.distill.teachers]
        flags = [
            flag
            for flag, path in given
            if path and path in error.what and ":" not in path and not Path(path).exists()
        ]
        if resume is None or not flags:
            raise
        again = f"If it has moved:  tutelage train --resume {resume} {flags[0]} …"
        fix = "\n".join(text for text in (error.fix, again) if text)
        raise type(error)(error.what, where=error.where, fix=fix, code=error.code) from error
