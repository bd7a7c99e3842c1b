"""A trained model and a data set, by their names, to scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from tutelage.data import EvaluationDataset, evaluation_loader, open_dataset
from tutelage.errors import WeightsError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.evaluate import evaluate
from tutelage.evaluation.nms import EVALUATION_CONF, EVALUATION_IOU
from tutelage.evaluation.predictor import Predictor, runnable
from tutelage.evaluation.scores import Scores
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector

_log = logging.getLogger(__name__)


def validate(
    model: str | Path | GraphDetector | Predictor,
    *,
    data: str | Path,
    split: Literal["train", "val", "test"] = "val",
    image_size: int | None = None,
    batch: int = 16,
    device: str = "auto",
    conf: float = EVALUATION_CONF,
    iou: float = EVALUATION_IOU,
    augment: bool = False,
    half: bool = False,
    single_cls: bool = False,
    rect: bool = False,
    workers: int = 0,
) -> Scores:
    """Return the scores of a model on a split of a data set.

    Args:
        model: Run folder, weight file, a detector (which stays as it is), or what runs one.
        data: Data set, as for training.
        split: ``train``, ``val`` or ``test``.
        image_size: Longer side of the images in pixels; None: that of the training, else 640.
        batch: Images at a time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        conf: Detections must score more than this.
        iou: Overlap limit of the suppression.
        augment: Test-time augmentation: three views of each image.
        half: Compute in half precision on a GPU.
        single_cls: Treat all classes as one, of the data and of the model.
        rect: Batches of similar shape with a margin, as YOLOv7 evaluates, instead of squares, as
            the evaluations during training.
        workers: Loader processes.

    Raises:
        WeightsError: The model cannot be read, or its classes are not those of the data.
        DataError: The data set cannot be used.
        ConfigError: The device is absent, or the size does not fit the model's strides.
    """
    found = model
    if not isinstance(found, Predictor):
        found = runnable(found, choose_device(device), augment=augment, half=half)
    found.warn(conf)
    size = image_size if image_size is not None else found.image_size
    check_image_size(size, found.stride)
    index = open_dataset(data, split, single_class=single_cls)
    for finding in index.findings:
        _log.warning("%s: %s", finding.severity, finding.message)
    if single_cls:
        class_map: Mapping[int, int] | None = dict.fromkeys(range(len(found.names)), 0)
    else:
        class_map = match_classes(found.names, index.names, model=found.title, data=str(data))
    loader = evaluation_loader(
        index,
        image_size=size,
        batch=batch,
        workers=workers,
        rect=rect,
        pad=0.5 if rect else 0.0,
        stride=found.stride,
    )
    return evaluate(
        found.run,
        loader,
        index,
        device=found.device,
        conf=conf,
        iou=iou,
        class_map=class_map,
        letterbox=cast("EvaluationDataset", loader.dataset).letterbox,
    )


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
        code="W24",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
