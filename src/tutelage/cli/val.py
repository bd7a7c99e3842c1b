"""``tutelage val``."""

from __future__ import annotations

import math
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.tables import columns, make_progress, print_result
from tutelage.cli.train import LOADING
from tutelage.cli.yolo_flags import notices_of
from tutelage.deploy.formats import format_of
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutelage.evaluation import Scores


def val(
    context: typer.Context,
    model: o.RunnableModel = None,
    weights: o.HiddenWeights = None,
    data: o.Data = None,
    split: Annotated[
        Literal["train", "val", "test"],
        typer.Option("--split", "--task", help="Which images", rich_help_panel=o.WHAT),
    ] = "val",
    single_cls: o.SingleClass = False,
    img_size: o.InferenceSize = None,
    batch_size: o.ImagesAtATime = 16,
    conf_thres: Annotated[float, o.fraction("--conf-thres", "Least score")] = 0.001,
    iou_thres: Annotated[
        float | None, o.fraction("--iou-thres", "Overlap limit of the NMS; as in training")
    ] = None,
    device: o.Device = None,
    half: o.Half = False,
    augment: o.Augment = False,
    rect: Annotated[
        bool, o.switch("--rect", "Rectangular batches, as YOLOv7 evaluates", o.HOW)
    ] = False,
    save_json: Annotated[
        str | None,
        o.value("--save-json", "<file>", "The detections, with the ids of your json", o.WHERE),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Evaluate a model: COCO's AP on the val or test images."""
    from tutelage.config.overrides import normalise_value

    chosen = o.required_model(model, weights, "val")
    with make_progress() as progress:
        bar = progress.add_task(LOADING.text, total=None)
        data = data or stored_data(chosen)
        from tutelage.deploy.runtime import open_model
        from tutelage.evaluation.nms import EVALUATION_IOU
        from tutelage.evaluation.validate import validate

        progress.update(bar, description=f"evaluating {chosen} on {split} of {data}")
        where = normalise_value("train.device", device or "auto")
        exported = is_exported(chosen)
        scores = validate(
            open_model(chosen, where, augment=augment, half=half) if exported else chosen,
            data=data,
            split=split,
            image_size=img_size,
            batch=batch_size,
            device=where,
            conf=conf_thres,
            iou=EVALUATION_IOU if iou_thres is None else iou_thres,
            augment=augment,
            half=half,
            single_cls=single_cls,
            rect=rect,
        )
    if save_json:
        from tutelage.files import atomic_write_text

        atomic_write_text(Path(save_json), dumps(scores.results))
    head = f"{chosen} on {split} of {data}: {scores.images} images, {scores.instances} objects"
    lines = [*notices_of(context), head, *score_table(scores), suggestion(scores, conf_thres)]
    print_result(scores.to_dict(), lines, as_json=json)


def stored_data(model: str) -> str:
    """Return the data set of a run.

    Raises:
        WeightsError: There is no such model.
        DataError: The run's settings name a data set that is not there.
        ConfigError: The model is not a run folder, or its settings name no data set.
    """
    from tutelage.evaluation.predictor import training_data

    data = training_data(model, must_exist=True)
    if data is not None:
        return data
    from tutelage.models.weight_file import weight_file
    from tutelage.weights.file_type import existing_file

    existing_file(weight_file(model))
    raise ConfigError(
        "No data set is given.", fix=f"tutelage val {model} --data data.yaml", code="C26"
    )


def is_exported(model: str) -> bool:
    """Whether a model is an exported file, by its suffix."""
    return format_of(model) is not None


def score_table(scores: Scores) -> list[str]:
    """Return the scores as lines: all classes, then each class."""
    confidence = scores.diagnostics["confidence"]
    rows = [["class", "objects", "P", "R", "F1", "AP", "AP50", "AP75", "APs", "APm", "APl"]]
    total = [scores.AP, scores.AP50, scores.AP75, scores.APs, scores.APm, scores.APl]
    rows.append(["all", str(scores.instances), *_at_threshold(confidence), *map(score, total)])
    for name, each in scores.per_class.items():
        own = _at_threshold(confidence["classes"].get(name, {}))
        rows.append([name, str(each.instances), *own, score(each.AP), score(each.AP50)])
    return columns(rows, left=1)


def suggestion(scores: Scores, conf: float) -> str:
    """Return the line about P, R and F1: at which threshold they are, for use with predict.

    Args:
        scores: Of detections that score more than ``conf``.
        conf: No lower threshold is suggested: more detections would be left than were evaluated.
    """
    threshold = scores.diagnostics["confidence"]["threshold"]
    if threshold is None:
        return "No object was found at IoU 0.5: there is no --conf-thres to suggest for predict."
    place = f"{max(threshold, conf):g}"
    return (
        f"P, R and F1 at IoU 0.5, score > {place}, where the mean F1 is largest: "
        f"--conf-thres {place} for predict"
    )


def _at_threshold(values: Mapping[str, Any]) -> list[str]:
    """Return precision, recall and F1 as cells; those of a class without objects are undefined."""
    found = (values.get(key) for key in ("precision", "recall", "f1"))
    return [score(math.nan if value is None else value) for value in found]
