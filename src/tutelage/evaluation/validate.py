"""Evaluates a trained model on a split of a data set, both given by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from tutelage.data import DatasetIndex, EvaluationDataset, evaluation_loader, open_dataset
from tutelage.data.class_names import match_names
from tutelage.data.formats.chosen_classes import keep_classes
from tutelage.errors import ConfigError, WeightsError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.evaluate import evaluate
from tutelage.evaluation.nms import EVALUATION_CONF, EVALUATION_IOU
from tutelage.evaluation.predictor import Predictor, load_predictor
from tutelage.evaluation.scores import Scores
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
    classes: Sequence[str] = (),
    rect: bool = False,
    workers: int = 0,
) -> Scores:
    """Return the scores of a model on a split of a data set.

    Args:
        model: Run folder, weight file, a detector (not modified), or a predictor.
        data: Data set, as for training.
        split: ``train``, ``val`` or ``test``.
        image_size: Longer side of the images in pixels; None: that of the training, else 640.
        batch: Images at a time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        conf: Detections must score more than this.
        iou: IoU threshold of the NMS.
        augment: Test-time augmentation: three views of each image.
        half: Compute in half precision on a GPU.
        single_cls: Treat all classes as one, of the data and of the model.
        classes: Evaluate these classes of the data only; empty: all, or those of the model if they
            are some of the data's.
        rect: Batches of similar shape with a margin, as in YOLOv7, instead of squares, as during
            training.
        workers: Loader processes.

    Raises:
        WeightsError: The model cannot be read, or its classes are not those of the data.
        DataError: The data set cannot be used.
        ConfigError: The device is absent, or the size does not fit the model's strides.
    """
    predictor = model
    if not isinstance(predictor, Predictor):
        predictor = load_predictor(predictor, choose_device(device), augment=augment, half=half)
    predictor.warn(conf)
    size = predictor.size(image_size)
    if rect and predictor.fixed:
        raise ConfigError(f"--rect: {predictor.title} takes squares only.", code="C30")
    index = open_dataset(
        data,
        split,
        single_class=single_cls,
        classes=classes,
        image_range=predictor.image_range,
    )
    if not single_cls:
        index = known_classes(index, predictor.names)
    for finding in index.findings:
        _log.warning("%s: %s", finding.severity, finding.message)
    if single_cls:
        class_map: Mapping[int, int] | None = dict.fromkeys(range(len(predictor.names)), 0)
    else:
        class_map = match_classes(
            predictor.names, index.names, model=predictor.title, data=str(data)
        )
    loader = evaluation_loader(
        index,
        image_size=size,
        batch=batch,
        workers=workers,
        rect=rect,
        pad=0.5 if rect else 0.0,
        stride=predictor.stride,
    )
    return evaluate(
        predictor.run,
        loader,
        index,
        device=predictor.device,
        conf=conf,
        iou=iou,
        class_map=class_map,
        letterbox=cast("EvaluationDataset", loader.dataset).letterbox,
    )


def known_classes(index: DatasetIndex, names: Sequence[str]) -> DatasetIndex:
    """Return an index without the classes that a model was not trained on, if it has no others."""
    return keep_classes(index, names) if set(names) < set(index.names) else index


def match_classes(
    model_names: tuple[str, ...], data_names: tuple[str, ...], *, model: str, data: str
) -> dict[int, int] | None:
    """Return model class → data class; None if they are the same in the same order.

    See :func:`~tutelage.data.class_names.match_names`.

    Raises:
        WeightsError: The model lacks a class of the data, or knows others.
    """
    matched = match_names(model_names, data_names)
    if matched is not None:
        return None if all(a == b for a, b in matched.items()) else matched
    parts = ["the class names differ"]
    if len(model_names) != len(data_names):
        parts = [f"the model knows {len(model_names)} classes, the data {len(data_names)}"]
    for what, names, others in (
        ("not known to the model", data_names, model_names),
        ("not in the data", model_names, data_names),
    ):
        missing = [name for name in names if name not in others]
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        parts += [f"{what}: {', '.join(missing[:5])}{more}"] if missing else []
    raise WeightsError(
        f"{model} does not fit {data}: {'; '.join(parts)}.",
        fix="Use the data set it was trained on, rename the classes in the data yaml, or compare "
        "places only: --single-cls.",
        code="W24",
    )
