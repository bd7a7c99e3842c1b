"""A trained model and a data set, by their names, to scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from tutelage.data import EvaluationDataset, evaluation_loader, open_dataset
from tutelage.errors import WeightsError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.evaluate import evaluate
from tutelage.evaluation.scores import Scores
from tutelage.models.checkpoint import read_checkpoint, restore
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.structures import Predictions
from tutelage.weights.store import load_header

_log = logging.getLogger(__name__)

DEFAULT_SIZE = 640
_BEST = "best.safetensors"


def validate(
    model: str | Path | GraphDetector,
    *,
    data: str | Path,
    split: Literal["train", "val", "test"] = "val",
    image_size: int | None = None,
    batch: int = 16,
    device: str = "auto",
    conf: float = 0.001,
    iou: float = 0.65,
    augment: bool = False,
    single_cls: bool = False,
    rect: bool = False,
    workers: int = 0,
) -> Scores:
    """Return the scores of a model on a split of a data set.

    Args:
        model: Run folder, weight file, or a detector (which stays as it is).
        data: Data set, as for training.
        split: ``train``, ``val`` or ``test``.
        image_size: Longer side of the images in pixels; None: that of the training, else 640.
        batch: Images at a time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        conf: Detections must score more than this.
        iou: Overlap limit of the suppression.
        augment: Test-time augmentation: three views of each image.
        single_cls: Treat all classes as one, of the data and of the model.
        rect: Batches of similar shape with a margin, as YOLOv7 evaluates, instead of squares, as
            the evaluations during training.
        workers: Loader processes.

    Raises:
        WeightsError: The model cannot be read, or its classes are not those of the data.
        DataError: The data set cannot be used.
        ConfigError: The device is absent, or the size does not fit the model's strides.
    """
    where = choose_device(device)
    detector = model if isinstance(model, GraphDetector) else restore(read_checkpoint(model))
    size = image_size if image_size is not None else _trained_size(model)
    check_image_size(size, max(detector.strides))
    index = open_dataset(data, split, single_class=single_cls)
    for finding in index.findings:
        _log.warning("%s: %s", finding.severity, finding.message)
    if single_cls:
        class_map: Mapping[int, int] | None = dict.fromkeys(range(len(detector.names)), 0)
    else:
        class_map = match_classes(detector.names, index.names, model=_title(model), data=str(data))
    loader = evaluation_loader(
        index,
        image_size=size,
        batch=batch,
        workers=workers,
        rect=rect,
        pad=0.5 if rect else 0.0,
        stride=max(detector.strides),
    )
    deployed = detector.fused().eval().to(where)
    return evaluate(
        predictor(deployed, augment=augment),
        loader,
        index,
        device=where,
        conf=conf,
        iou=iou,
        class_map=class_map,
        letterbox=cast("EvaluationDataset", loader.dataset).letterbox,
    )


def predictor(detector: GraphDetector, *, augment: bool = False) -> Callable[[Tensor], Predictions]:
    """Return the function that maps images ``(b, 3, h, w)`` in 0..1 to a detector's predictions."""

    def plain(images: Tensor) -> Predictions:
        raw = cast("tuple[Tensor, ...]", detector(images).raw)  # the head was run
        return detector.decode(raw, (int(images.shape[-2]), int(images.shape[-1])))

    def augmented(images: Tensor) -> Predictions:
        rows, _ = detector(images, augment=True)
        return from_rows(rows)

    return augmented if augment else plain


def from_rows(rows: Tensor) -> Predictions:
    """Return decoded rows ``(b, n, 5 + c)``, cx, cy, w, h and probabilities, as predictions."""
    half = rows[..., 2:4] / 2
    xyxy = torch.cat([rows[..., :2] - half, rows[..., :2] + half], -1)
    logits = torch.logit(rows[..., 4:].float(), eps=1e-7)
    level = torch.zeros(rows.shape[1], dtype=torch.int64, device=rows.device)
    return Predictions(xyxy, logits[..., 1:], logits[..., 0], level)


def match_classes(
    model_names: tuple[str, ...], data_names: tuple[str, ...], *, model: str, data: str
) -> dict[int, int] | None:
    """Return model class → data class by name; None if they are the same in the same order.

    A model that only numbers its classes is taken to count them as the data does.

    Raises:
        WeightsError: The model lacks a class of the data, or knows others; the names are told.
    """
    numbered = model_names == tuple(str(number) for number in range(len(model_names)))
    if model_names == data_names or (numbered and len(model_names) == len(data_names)):
        return None
    if sorted(model_names) == sorted(data_names) and len(set(data_names)) == len(data_names):
        return {number: data_names.index(name) for number, name in enumerate(model_names)}
    lacking = [name for name in data_names if name not in model_names]
    extra = [name for name in model_names if name not in data_names]
    parts = [
        f"the model knows {len(model_names)} classes, the data {len(data_names)}"
        if len(model_names) != len(data_names)
        else "the class names differ"
    ]
    parts += [f"not known to the model: {_listed(lacking)}"] if lacking else []
    parts += [f"not in the data: {_listed(extra)}"] if extra else []
    raise WeightsError(
        f"{model} does not fit {data}: {'; '.join(parts)}.",
        fix="Use the data set it was trained on, rename the classes in the data yaml, or compare "
        "places only: --single-cls.",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _title(model: str | Path | GraphDetector) -> str:
    return model.arch_name if isinstance(model, GraphDetector) else str(model)


def _trained_size(model: str | Path | GraphDetector) -> int:
    """The image size in a run's weights; the usual one for anything else."""
    if isinstance(model, GraphDetector):
        return DEFAULT_SIZE
    path = Path(model)
    path = path / _BEST if path.is_dir() else path
    size = load_header(path).get("image_size") if path.suffix == ".safetensors" else None
    return size if isinstance(size, int) else DEFAULT_SIZE
