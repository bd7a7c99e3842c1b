"""``tutelage.evaluate``: the command ``tutelage val`` as a function."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from tutelage.config.overrides import normalise_value
from tutelage.deploy.formats import format_of
from tutelage.deploy.runtime import open_model
from tutelage.errors import ConfigError
from tutelage.evaluation import Scores
from tutelage.evaluation.nms import EVALUATION_CONF, EVALUATION_IOU
from tutelage.evaluation.predictor import Predictor, training_data
from tutelage.evaluation.validate import validate
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import weight_file
from tutelage.weights.file_type import existing_file


def evaluate(
    model: str | os.PathLike[str] | GraphDetector | Predictor,
    data: str | Path | None = None,
    *,
    split: Literal["train", "val", "test"] = "val",
    single_cls: bool = False,
    img_size: int | None = None,
    batch_size: int = 16,
    conf_thres: float = EVALUATION_CONF,
    iou_thres: float = EVALUATION_IOU,
    device: str = "auto",
    half: bool = False,
    augment: bool = False,
    rect: bool = False,
) -> Scores:
    """Evaluate a model: COCO's AP on the val or test images.

    Args:
        model: A run, a weight file, an exported file, or a detector (which is not modified).
        data: Data set, as for training; None: that of the run.
        split: Which images.
        single_cls: Treat all classes as one, of the data and of the model.
        img_size: Longer side of the images in pixels; None: that of the training, else 640.
        batch_size: Images at a time.
        conf_thres: Detections must score more than this.
        iou_thres: Overlap limit of the NMS.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        half: Compute in half precision on a GPU.
        augment: Three views of each image.
        rect: Rectangular batches, as YOLOv7 evaluates.

    Raises:
        WeightsError: The model cannot be read, or its classes are not those of the data.
        DataError: The data set cannot be used.
        ConfigError: No data set is given or known, the device is absent, or the size does not fit.
        MissingExtraError: The runtime of an exported file is not installed.
    """
    chosen = os.fspath(model) if isinstance(model, os.PathLike) else model
    where = normalise_value("train.device", device)
    if data is None:
        data = stored_data(chosen) if isinstance(chosen, str) else None
        if data is None:
            raise ConfigError("No data set is given.", fix="evaluate(model, data)", code="C26")
    if isinstance(chosen, str) and format_of(chosen):
        chosen = open_model(chosen, where, augment=augment, half=half)
    return validate(
        chosen,
        data=data,
        split=split,
        image_size=img_size,
        batch=batch_size,
        device=where,
        conf=conf_thres,
        iou=iou_thres,
        augment=augment,
        half=half,
        single_cls=single_cls,
        rect=rect,
    )


def stored_data(model: str) -> str:
    """Return the data set of a run.

    Raises:
        WeightsError: There is no such model.
        DataError: The run's settings name a data set that is not there.
        ConfigError: The model is not a run folder, or its settings name no data set.
    """
    data = training_data(model, must_exist=True)
    if data is not None:
        return data
    existing_file(weight_file(model))
    raise ConfigError(
        "No data set is given.", fix=f"tutelage val {model} --data data.yaml", code="C26"
    )
