"""Checks before a comparison: finished runs, changed settings and data, arms that cannot work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.arms import BASELINE, ArmRun, ComparisonPlan, origins_of
from tutelage.comparison.cost import read_cost
from tutelage.comparison.detections import BEST
from tutelage.config.added_later import complete
from tutelage.config.diff import compare_configs
from tutelage.config.load import load_config
from tutelage.config.schema import Config
from tutelage.config.validate import combine_errors
from tutelage.data import DatasetIndex, open_splits
from tutelage.data.opening import Split
from tutelage.errors import ConfigError, UserError, WeightsError
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.kd_weights import batches_with_boxes, first_images
from tutelage.run.preflight.wiring import check_wiring
from tutelage.run.resume import why_finished
from tutelage.setup.build import build_run
from tutelage.setup.student import check_stored_width
from tutelage.teachers import Teacher, fingerprint

FORMAT = "tutelage-comparison-2"
RESULT = "comparison.json"
FINISHED, RESUMED, NEW = "finished", "resumed", "new"
_FIX = "Choose another --name to start a new one."
_BY_CONTENT = ("data", "distill.teacher")  # compared by content, not by name
_PER_RUN = ("run", "train.seed", "distill.methods")
_PRESET = "preset"  # the settings that it sets are compared
_THREADS, _RUNTIME = "train.threads", "distill.teacher_runtime"  # chosen once for all runs


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return the stored comparison, or an empty one.

    Raises:
        ConfigError: The folder is a run folder, or its file is not of this format.
    """
    if (folder / "config.yaml").exists():
        raise ConfigError(
            f"{folder} is the folder of a run, not of a comparison.", fix=_FIX, code="C31"
        )
    path = folder / RESULT
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text())
        if stored["format"] == FORMAT:
            return {**stored, "settings": Config.model_validate(complete(stored["settings"]))}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise ConfigError(f"{path} is not a comparison of this version.", fix=_FIX, code="C31")


def identify(
    config: Config, split: Split, index: DatasetIndex, teachers: Sequence[Teacher]
) -> dict[str, Any]:
    """Return names and fingerprints of the images and teachers, for :func:`check_same`."""
    data, settings = str(config.data), config.train
    train, val = open_splits(
        data,
        "train",
        "val",
        single_class=settings.single_cls,
        classes=settings.classes,
        image_range=settings.image_range,
    )
    images = {
        "train": train.fingerprint,
        "val": val.fingerprint,
        split: index.evaluation_fingerprint,
    }
    networks = [
        {"source": source, "fingerprint": fingerprint(teacher.state())}
        for source, teacher in zip(config.distill.teachers, teachers, strict=True)
    ]
    return {"data": {"source": data, **images}, "teacher_weights": networks}


def check_same(
    comparison: ComparisonPlan, stored: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Check that settings, images and teachers are those that the comparison was begun with.

    Args:
        comparison: The comparison to continue.
        stored: The result of :func:`read_comparison`.
        identity: The result of :func:`identify`.

    Raises:
        ConfigError: Something differs from the stored comparison or run folders; lists all.
    """
    errors: list[str] = []
    if stored:
        free = (*_PER_RUN, *_BY_CONTENT, _PRESET)
        for key, was, now in compare_configs(stored["settings"], comparison.config, free=free):
            errors.append(f"{key}: {now} contradicts its {was}")
        errors += _changed_content(stored, identity)
    free = ("run", _PRESET, *(_BY_CONTENT if stored else ()))
    free += (_THREADS,) * (comparison.config.train.threads == "auto")
    free += (_RUNTIME,) * (comparison.config.distill.teacher_runtime == "auto")
    for run in () if errors else comparison.runs():
        path = run.folder / "config.yaml"
        if path.exists():
            before = load_config(config_file=path).config
            check_stored_width(path, before.model.arch or "")
            for key, was, now in compare_configs(before, run.config, free=free):
                errors.append(f"{run.folder.name}: {key} {now} contradicts its {was}")
    if errors:
        what = f"{comparison.folder} was begun with other settings; methods and seeds may be added."
        raise ConfigError("\n  ".join([what, *errors]), fix=_FIX, code="C31")


def check_arms(comparison: ComparisonPlan, origins: Mapping[str, str]) -> None:
    """Build the parts of each set of methods once, and check that its losses reach the student.

    Raises:
        UserError: Something does not fit; lists all errors of settings.
    """
    errors: dict[str, UserError] = {}
    arms = {arm.methods: arm for arm in comparison.arms if arm.name != BASELINE}
    for arm in arms.values():
        train = arm.config.train.model_copy(update={"cache_images": "none", "workers": 0})
        config = arm.config.model_copy(update={"train": train})
        try:
            _check_wiring(config, origins_of(arm, origins))
        except UserError as error:
            errors.setdefault(error.what, error)
    settings = [error for error in errors.values() if isinstance(error, ConfigError)]
    if settings:
        raise combine_errors(settings)
    if errors:
        raise next(iter(errors.values()))


def _check_wiring(config: Config, origins: Mapping[str, str]) -> None:
    parts = build_run(config, origins, keep_threads=True)
    batch = next(batches_with_boxes(parts, 1), None)
    if parts.distillation is not None and batch is not None:
        check_wiring(parts.unwrapped_task, parts.distillation.teachers, first_images(batch))


def state_of(run: ArmRun) -> str:
    """Return whether a run is finished, to be resumed or new, by the files in its folder."""
    cost = read_cost(run.folder)
    whole = (run.folder / BEST).exists()
    if cost and cost.finished and whole:
        return FINISHED
    try:
        checkpoint = load_checkpoint(run.folder / "last.pt")
    except WeightsError:
        return NEW
    if not why_finished(checkpoint, run.config):
        return RESUMED
    return FINISHED if whole else NEW


def _changed_content(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> Iterator[str]:
    was, now = stored["data"], identity["data"]
    for split in ("train", "val", "test"):
        if was.get(split) != now.get(split):
            yield f"data: the {split} images of {now['source']} are not those of {was['source']}"
    before, after = stored["teacher_weights"], identity["teacher_weights"]
    if len(before) != len(after):
        yield f"distill.teacher: {len(after)} teachers, previously {len(before)}"
    for was, now in zip(before, after, strict=False):
        if was["fingerprint"] != now["fingerprint"]:
            yield f"distill.teacher: {now['source']} is not the network that {was['source']} was"
