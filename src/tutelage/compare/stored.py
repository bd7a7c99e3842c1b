"""What a comparison finds before it begins: what is done, what has changed, what cannot work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.compare.arms import BASELINE, ArmRun, Comparison, origins_of
from tutelage.compare.cost import read_cost
from tutelage.compare.detections import BEST
from tutelage.config.diff import compare_configs
from tutelage.config.load import load_config
from tutelage.config.schema import Config
from tutelage.config.validate import combine_errors
from tutelage.data import DatasetIndex, open_splits
from tutelage.data.open_data import Split
from tutelage.errors import ConfigError, UserError, WeightsError
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.kd_weights import batches_with_boxes, first_images
from tutelage.run.preflight.wiring import check_wiring
from tutelage.run.resume import why_finished
from tutelage.setup.build import RunParts, assemble
from tutelage.teachers import Teacher, fingerprint

FORMAT = "tutelage-comparison-2"
RESULT = "comparison.json"
FINISHED, RESUMED, NEW = "finished", "resumed", "new"
_ANEW = "Choose another --name to start anew."
# what is known better by its content than by its name
_NAMED = ("data", "distill.teacher")
_OWN = ("run", "train.seed", "distill.methods")  # of each arm and run
_TOLD = "preset"  # all that it sets is compared itself


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return the stored comparison, or an empty one.

    Raises:
        ConfigError: The folder is a run folder, or its file is not ours.
    """
    if (folder / "config.yaml").exists():
        raise ConfigError(
            f"{folder} is a run folder, not one of a comparison.", fix=_ANEW, code="C31"
        )
    path = folder / RESULT
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text())
        if stored["format"] == FORMAT:
            return {**stored, "settings": Config.model_validate(stored["settings"])}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise ConfigError(f"{path} is not a comparison of this version.", fix=_ANEW, code="C31")


def identify(
    config: Config, split: Split, index: DatasetIndex, teachers: Sequence[Teacher]
) -> dict[str, Any]:
    """Return what identifies images and teachers by their content.

    Args:
        config: The settings.
        split: Name of the split to compare on.
        index: Its images.
        teachers: The networks.
    """
    data, single = str(config.data), config.train.single_cls
    train, val = open_splits(data, "train", "val", single_class=single)
    images = {"train": train.fingerprint, "val": val.fingerprint, split: index.fingerprint}
    networks = [
        {"source": source, "fingerprint": fingerprint(teacher.state())}
        for source, teacher in zip(config.distill.teachers, teachers, strict=True)
    ]
    return {"data": {"source": data, **images}, "teacher_weights": networks}


def check_same(
    comparison: Comparison, stored: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Refuse to go on with other settings, other images or another teacher.

    Args:
        comparison: What is asked for now.
        stored: What :func:`read_comparison` returned.
        identity: What :func:`identify` returned.

    Raises:
        ConfigError: All that differs, from the stored comparison or from run folders.
    """
    faults: list[str] = []
    if stored:
        for key, was, now in compare_configs(
            stored["settings"], comparison.config, free=(*_OWN, *_NAMED, _TOLD)
        ):
            faults.append(f"{key}: {now} contradicts its {was}")
        faults += _changed_content(stored, identity)
    named = _NAMED if stored else ()
    for run in () if faults else comparison.runs():
        path = run.folder / "config.yaml"
        if path.exists():
            before = load_config(config_file=path).config
            for key, was, now in compare_configs(before, run.config, free=("run", *named, _TOLD)):
                faults.append(f"{run.folder.name}: {key} {now} contradicts its {was}")
    if faults:
        what = f"{comparison.folder} was begun with other settings; methods and seeds may be added."
        raise ConfigError("\n  ".join([what, *faults]), fix=_ANEW, code="C31")


def check_arms(comparison: Comparison, origins: Mapping[str, str]) -> None:
    """Build every kind of arm once, and prove its wiring, so that what cannot work is told now.

    Raises:
        UserError: What does not fit; faults of settings all together.
    """
    faults: dict[str, UserError] = {}
    kinds = {arm.methods: arm for arm in comparison.arms if arm.name != BASELINE}
    for arm in kinds.values():
        train = arm.config.train.model_copy(update={"cache_images": "none", "workers": 0})
        config = arm.config.model_copy(update={"train": train})
        try:
            _prove(assemble(config, origins_of(arm, origins), keep_threads=True))
        except UserError as error:
            faults.setdefault(error.what, error)
    settings = [error for error in faults.values() if isinstance(error, ConfigError)]
    if settings:
        raise combine_errors(settings)
    if faults:
        raise next(iter(faults.values()))


def _prove(parts: RunParts) -> None:
    """Run the pre-flight on a few images."""
    batch = next(batches_with_boxes(parts, 1), None)
    if parts.teaching is None or batch is None:
        return
    check_wiring(parts.unwrapped_task, parts.teaching.panel, first_images(batch))


def state_of(run: ArmRun) -> str:
    """Say by what a run folder holds whether its run is finished, to be resumed, or new."""
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
        yield f"distill.teacher: {len(after)} teachers, they were {len(before)}"
    for was, now in zip(before, after, strict=False):
        if was["fingerprint"] != now["fingerprint"]:
            yield f"distill.teacher: {now['source']} is not the network that {was['source']} was"
