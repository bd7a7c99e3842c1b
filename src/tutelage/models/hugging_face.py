"""Folders and ids of the transformers library, as ``hf:FOLDER`` or ``hf:ID``.

A folder is what ``save_pretrained`` writes: ``config.json``, with or without weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError, MissingExtraError, WeightsError, nearest
from tutelage.models.d_fine import SETTINGS, graph, graph_keys, read_settings
from tutelage.optional_packages import quiet

PREFIX = "hf"
FAMILY = "d_fine"
"""Of the students; teachers are of more, see :mod:`tutelage.teachers.hugging_face`."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
Normalisation = tuple[Sequence[float], Sequence[float]]
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def is_hugging_face(source: object) -> bool:
    """Return whether a source is ``hf:…``."""
    family, colon, _ = str(source).partition(":")
    return bool(colon) and family.lower() == PREFIX


def is_student(source: str) -> bool:
    """Return whether ``hf:…`` is of a family that can be a student.

    Raises:
        UserError: As :func:`student_graph`, for any family.
    """
    name = source.partition(":")[2].strip()
    return read_config(find_folder(name), name).model_type == FAMILY


def student_graph(source: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a D-FINE, that of its folder, and its yaml mapping.

    Args:
        source: ``hf:FOLDER`` or ``hf:ID``.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: It is not on this machine.
        ConfigError: It is no D-FINE, or one that cannot be trained.
    """
    name = source.partition(":")[2].strip()
    config = read_config(find_folder(name), name)
    if config.model_type != FAMILY:
        raise ConfigError(
            f"hf:{name} is a {config.model_type}, which cannot be a student.",
            fix=f"Students of transformers: {FAMILY}. As a teacher:  --teacher-weights hf:{name}",
            code="T23",
        )
    try:
        return Path(name).name or FAMILY, graph(config)
    except ValueError as error:
        raise ConfigError(f"hf:{name} cannot be a student: {error}", code="T23") from error


def student_weights(source: str) -> str | None:
    """Return the source itself if weights lie beside its ``config.json``, else None."""
    folder = find_folder(source.partition(":")[2].strip())
    return source if any((folder / name).is_file() for name in _WEIGHTS) else None


def read_student(source: str) -> tuple[dict[str, Tensor], dict[str, Any], str, tuple[str, ...]]:
    """Read the weights of a D-FINE.

    Returns:
        Its tensors under the names of its graph, the yaml mapping, its name, and its class names.

    Raises:
        ConfigError: As :func:`student_graph`.
        WeightsError: They cannot be read, or were trained on images of other values.
    """
    title, mapping = student_graph(source)
    name = source.partition(":")[2].strip()
    folder = find_folder(name)
    if student_weights(source) is None:
        raise WeightsError(
            f"hf:{name} has no weights: its folder holds none of {', '.join(_WEIGHTS)}.",
            fix=f"To start from scratch:  --cfg hf:{name}",
            code="T23",
        )
    if tuple(map(tuple, normalisation(folder, PLAIN))) != PLAIN:
        raise WeightsError(
            f"hf:{name} was trained on normalised images; a student sees red, green, blue in 0…1.",
            fix=f"It can be a teacher:  --teacher-weights hf:{name}",
            code="T23",
        )
    labels = read_config(folder, name).id2label
    config = read_settings(mapping[SETTINGS], len(labels))  # without what may name code
    model = load_model(folder, name, config, "DFineForObjectDetection")
    names = tuple(str(label) for _, label in sorted(labels.items()))
    return graph_keys(model.state_dict(), mapping), mapping, title, names


def library() -> Any:
    """Return the transformers package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "hf: needs the transformers package.", fix="pip install 'tutelage[hf]'"
        ) from error
    return transformers


def find_folder(source: str) -> Path:
    """Return the folder of a model that is on this machine.

    Args:
        source: The folder, or an id in the local cache.

    Raises:
        WeightsError: It is not there, or is no such folder.
        ConfigError: It is empty.
    """
    if not source.strip():
        fix = "Give hf:FOLDER, as save_pretrained writes it, or hf:ID of one in the local cache."
        raise ConfigError("'hf:' names no network.", fix=fix, code="T23")
    transformers = library()
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            fix = "Give a folder written by save_pretrained."
            raise WeightsError(f"{source} holds no config.json.", fix=fix, code="T23")
        return folder
    if folder.is_absolute() or len(folder.parts) > 2:  # an id is NAME or OWNER/NAME
        beside = [path.name for path in folder.parent.glob("*") if path.is_dir()]
        fix = nearest(folder.name, beside) or "Give a folder written by save_pretrained."
        raise WeightsError(f"{source} does not exist.", fix=fix, code="T23")
    try:
        return Path(
            transformers.utils.cached_file(source, "config.json", local_files_only=True)
        ).parent
    except (OSError, ValueError) as error:
        fix = f"hf download {source}"
        raise WeightsError(f"hf:{source} is not on this machine.", fix=fix, code="T23") from error


def read_config(folder: Path, source: str) -> Any:
    """Return the configuration in a folder.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        return library().AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"hf:{source} has a config.json that is not read: {reason}", code="T23"
        ) from error


def load_model(folder: Path, source: str, config: Any, kind: str) -> Any:
    """Return a model with the weights in a folder, in float32.

    Args:
        folder: What ``save_pretrained`` wrote.
        source: Its name in messages.
        config: Its configuration.
        kind: The class of the library that reads it.

    Raises:
        MissingExtraError: A package that it needs is not installed.
        WeightsError: The weights cannot be read, or are not those of a trained detector.
    """
    transformers = library()
    transformers.utils.logging.disable_progress_bar()
    try:
        with quiet():  # what it says of the denoising queries of a student
            model, info = getattr(transformers, kind).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except ImportError as error:
        what = f"hf:{source} needs a package that is not installed."
        raise MissingExtraError(what, fix=str(error).strip().splitlines()[0]) from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"hf:{source} cannot be read: {reason}", code="T23") from error
    if missing := sorted(info["missing_keys"]):
        what = f"hf:{source} is no trained detector: it has no {missing[0]}"
        raise WeightsError(f"{what} ({len(missing)} tensors are missing).", code="T23")
    return model


def normalisation(folder: Path, usual: Normalisation) -> Normalisation:
    """Return mean and std for images in 0..1 from the image processor's file."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return usual
    try:
        settings: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON: {error}", code="T23") from error
    factor = (
        float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    )
    mean, std = usual
    normalised = settings.get("do_normalize")
    if normalised is not None:
        mean, std = (
            (settings.get("image_mean", IMAGENET[0]), settings.get("image_std", IMAGENET[1]))
            if normalised
            else PLAIN
        )
    scale = 255 * factor  # the network's pixel range relative to 0..1
    return [x / scale for x in mean], [x / scale for x in std]
