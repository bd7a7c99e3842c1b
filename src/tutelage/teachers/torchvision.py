"""Detectors of torchvision as teachers: ``torchvision:NAME`` or ``torchvision:NAME@FILE``."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import detection, get_model, get_model_weights, list_models
from torchvision.models.detection.ssd import SSD

from tutelage.errors import ConfigError, WeightsError, nearest
from tutelage.structures import Predictions
from tutelage.teachers.foreign import PROBE_HW, ForeignTeacher
from tutelage.teachers.teacher import content_hash
from tutelage.teachers.torchvision_heads import decoder
from tutelage.weights import identity, load_best, require_finite
from tutelage.weights.file_type import existing_file

SSD_PROBE_HW = (384, 512)  # its last convolutions have no padding: smaller maps would be empty
COCO_CLASSES = 91
NO_CLASS = ("__background__", "no person", "N/A")  # columns without a class


def load_torchvision(name: str, device: torch.device, dtype: torch.dtype) -> ForeignTeacher:  # noqa: ARG001
    """Load a detector of torchvision.

    Args:
        name: ``NAME``, for the library's own weights in torch hub's cache, or ``NAME@FILE`` for a
            state dict (``.pth``, ``.pt`` or ``.safetensors``, there perhaps with ``names``).
        device: Where it runs.
        dtype: Unused: it runs in float32.

    Raises:
        ConfigError: torchvision has no such detector.
        WeightsError: The weights are missing, cannot be read, or do not fit.
    """
    name, at, file = name.partition("@")
    known = list_models(module=detection)
    if name not in known:
        fix = f"{nearest(name, known)} Detectors: {' '.join(known)}"
        raise ConfigError(f"torchvision has no detector '{name}'", fix=fix.strip(), code="T23")
    categories = get_model_weights(name).DEFAULT.meta["categories"]  # type: ignore[attr-defined]
    if at:
        path = existing_file(file)
        state, header = _read(path)
        classes = _classes(name, state)
        model = _filled(name, classes, state, path)
        labels = _labels(header.get("names"), classes, categories, path)
    else:
        path, labels = _released(name), categories
        model = get_model(name, weights="DEFAULT", progress=False)
    content = content_hash(model.state_dict(), [name, labels])
    record = {"source": f"torchvision:{name}{at}{file}", **identity(path), "content": content}
    return torchvision_teacher(model, labels, title=name, record=record, device=device)


def torchvision_teacher(
    model: Any,
    labels: Sequence[str],
    *,
    title: str,
    record: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> ForeignTeacher:
    """Make a teacher of a detector of torchvision; its resizing is bypassed.

    Args:
        model: Faster R-CNN (or Mask or Keypoint R-CNN), RetinaNet, FCOS or SSD. It is frozen.
        labels: A name per column of its scores; ``__background__`` and ``N/A`` are no classes.
        title: Its name in messages.
        record: Identifies its weights.
        device: Where it runs.
    """
    columns = [number for number, label in enumerate(labels) if label not in NO_CLASS]
    decode = decoder(model)

    def forward(images: Tensor, predictions: bool) -> tuple[list[Tensor], Predictions | None]:
        features = model.backbone(images)
        decoded = decode(model, images, features, columns) if predictions else None
        return list(features.values()), decoded

    return ForeignTeacher(
        model,
        forward,
        title=title,
        names=[labels[number] for number in columns],
        mean=model.transform.image_mean,
        std=model.transform.image_std,
        record=record,
        device=device,
        probe_hw=SSD_PROBE_HW if isinstance(model, SSD) else PROBE_HW,
    )


def _released(name: str) -> Path:
    """Return the file of the library's own weights; nothing is downloaded."""
    url = str(get_model_weights(name).DEFAULT.url)  # type: ignore[attr-defined]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        raise WeightsError(
            f"The weights of torchvision's {name} are not on this machine.",
            where=str(path),
            fix=f"Put {url} there, or give a state dict: --teacher-weights torchvision:{name}@FILE",
            code="T23",
        )
    _read(path)  # checked first: the library would unpickle anything
    return path


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a state dict and the header of its file, without running code from it."""
    if path.suffix == ".safetensors":
        state, header = load_best(path)
    else:
        state, header = _unpickled(path), {}
    require_finite(state, path)
    return state, header


def _unpickled(path: Path) -> dict[str, Tensor]:
    save = "Save its state dict alone: torch.save(model.state_dict(), 'teacher.pth')"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = f"Refused to read {path}: it holds more than tensors and plain values."
        raise WeightsError(f"{what} Nothing was executed.", fix=save, code="W11") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path} is damaged or truncated.", fix="Copy it again.", code="W10"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise WeightsError(f"{path} holds no state dict.", fix=save, code="T23")
    return dict(state)


def _build(name: str, classes: int) -> Any:
    return get_model(name, weights=None, weights_backbone=None, num_classes=classes)


def _classes(name: str, state: Mapping[str, Tensor]) -> int:
    """Return the number of classes, from the first tensor that differs from one for COCO."""
    with torch.device("meta"):
        usual = _build(name, COCO_CLASSES).state_dict()
    for key, tensor in usual.items():
        if key in state and state[key].shape != tensor.shape and tensor.ndim:
            return max(COCO_CLASSES * len(state[key]) // len(tensor), 2)
    return COCO_CLASSES


def _filled(name: str, classes: int, state: Mapping[str, Tensor], path: Path) -> Any:
    model = _build(name, classes)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()
        raise WeightsError(
            f"{path} does not fit torchvision's {name}: {' '.join(reason[1:2]).strip()[:200]}",
            fix="Give the name of the detector whose state dict it is.",
            code="T23",
        ) from error
    return model


def _labels(names: Any, classes: int, categories: Sequence[str], path: Path) -> list[str]:
    """Return a name per column of the scores; the first is the background."""
    if isinstance(names, list) and names:
        if len(names) not in (classes, classes - 1):
            what = f"{path} names {len(names)} classes, but its tensors are of {classes - 1}"
            raise WeightsError(f"{what} and the background.", code="T23")
        own = [str(name) for name in names]
        return own if len(own) == classes else [NO_CLASS[0], *own]
    if classes == len(categories):
        return list(categories)
    return [NO_CLASS[0], *(f"class {number}" for number in range(1, classes))]
